//! Files of descriptors: compiled, linked, and asked about. Nothing here is on the way of a call.

use std::path::PathBuf;

use bytes::Bytes;
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::python::{enter, imports};
use crate::schema::{self, CompileError, Rpc, SchemaError};

fn as_bytes<'py>(py: Python<'py>, files: &[Bytes]) -> Vec<Bound<'py, PyBytes>> {
    files.iter().map(|file| PyBytes::new(py, file)).collect()
}

/// Compiles `.proto` files: `(names, files)`, the names of those asked for, and they and all they
/// import, serialized, imported ones first.
///
/// Raises `callmethod.ProtoError`.
#[pyfunction]
#[expect(clippy::needless_pass_by_value)] // they are made of Python's
pub(super) fn compile_protos(
    py: Python<'_>,
    paths: Vec<PathBuf>,
    includes: Vec<PathBuf>,
    comments: bool,
) -> PyResult<(Vec<String>, Vec<Bound<'_, PyBytes>>)> {
    match py.detach(|| schema::compile(&paths, &includes, comments)) {
        Ok(compiled) => Ok((compiled.names, as_bytes(py, &compiled.files))),
        Err(error) => Err(proto_error(py, error)?),
    }
}

fn proto_error(py: Python<'_>, error: CompileError) -> PyResult<PyErr> {
    let (line, column, source) = error.place.map_or((None, None, None), |place| {
        (Some(place.line), Some(place.column), Some(place.source))
    });
    let args = (error.reason, error.file, line, column, source);
    Ok(PyErr::from_value(enter::call(
        imports::proto_error(py)?,
        args,
    )?))
}

/// The files of a serialized `FileDescriptorSet`, each by itself; `ValueError` for other bytes.
#[pyfunction]
pub(super) fn split_set<'py>(py: Python<'py>, set: &[u8]) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    Ok(as_bytes(py, &schema::split_set(set)?))
}

/// `(name, input type, output type, client streaming, server streaming)`.
type RpcParts = (String, String, String, bool, bool);

/// Serialized files, linked.
#[pyclass(frozen, module = "callmethod._core")]
pub(super) struct MessagePool {
    pool: schema::MessagePool,
}

/// `KeyError` for a name that nothing has; other errors are `ValueError`s.
fn raised(error: SchemaError) -> PyErr {
    match error {
        SchemaError::NoSymbol(name) | SchemaError::NoMessage(name) => PyKeyError::new_err(name),
        other => other.into(),
    }
}

#[pymethods]
impl MessagePool {
    /// `ValueError` when the files do not link, or use editions.
    #[new]
    fn new(files: Vec<Vec<u8>>) -> PyResult<Self> {
        let files: Vec<Bytes> = files.into_iter().map(Bytes::from).collect();
        Ok(Self {
            pool: schema::MessagePool::link(&files)?,
        })
    }

    /// Names of the files, imported ones first.
    #[getter]
    fn files(&self) -> Vec<String> {
        self.pool.files().collect()
    }

    /// Full names of the services, each with the name of its file.
    #[getter]
    fn services(&self) -> Vec<(String, String)> {
        self.pool.services().collect()
    }

    /// The methods of a service in order of index; `KeyError` for no service.
    fn methods(&self, service: &str) -> PyResult<Vec<RpcParts>> {
        let parts = |rpc: Rpc| {
            let streaming = (rpc.client_streaming, rpc.server_streaming);
            (rpc.name, rpc.input, rpc.output, streaming.0, streaming.1)
        };
        let methods = self.pool.methods(service).map_err(raised)?;
        Ok(methods.into_iter().map(parts).collect())
    }

    /// A name's declaration as `.proto` text; `KeyError` where nothing is called so.
    fn describe(&self, name: &str) -> PyResult<String> {
        self.pool.describe(name).map_err(raised)
    }

    /// A serialized message as JSON; `KeyError` for no type, `ValueError` for a wrong body.
    fn to_json(&self, message: &str, body: &[u8]) -> PyResult<String> {
        self.pool.to_json(message, body).map_err(raised)
    }

    /// JSON as a serialized message; `KeyError` for no type, `ValueError` for a wrong text.
    fn parse_json<'py>(
        &self,
        py: Python<'py>,
        message: &str,
        json: &str,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let body = self.pool.parse_json(message, json).map_err(raised)?;
        Ok(PyBytes::new(py, &body))
    }
}
