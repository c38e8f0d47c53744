//! The method table of a service.

use std::sync::Arc;

use bytes::Bytes;
use pyo3::exceptions::{PyIndexError, PyKeyError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::schema::{Method, ServiceSchema};

/// Names, order and types of a service's methods, read once from its own descriptors.
#[pyclass(frozen, subclass, module = "callmethod._core")]
pub(super) struct MethodTable {
    pub(super) schema: Arc<ServiceSchema>,
}

impl MethodTable {
    fn tuple<'py>(
        &self,
        py: Python<'py>,
        part: impl Fn(&Method) -> &str,
    ) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.schema.methods().methods().iter().map(part))
    }

    fn json(&self, index: u32, body: &[u8], part: impl Fn(&Method) -> &str) -> PyResult<String> {
        let table = self.schema.methods();
        let method = table.get(index).ok_or_else(|| {
            let (methods, service) = (table.methods().len(), table.service());
            PyIndexError::new_err(format!(
                "{service} has {methods} methods; {index} is no index"
            ))
        })?;
        Ok(self.schema.pool()?.to_json(part(method), body)?)
    }
}

#[pymethods]
impl MethodTable {
    #[new]
    fn new(service: &str, files: Vec<Vec<u8>>) -> PyResult<Self> {
        let files = files.into_iter().map(Bytes::from).collect();
        Ok(Self {
            schema: Arc::new(ServiceSchema::new(service, files)?),
        })
    }

    /// Full name of the service.
    #[getter]
    fn service(&self) -> &str {
        self.schema.methods().service()
    }

    /// Bare names of the methods, in order of index.
    #[getter]
    fn names<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        self.tuple(py, |method| &method.name)
    }

    /// Full names of the requests' types, in order of index.
    #[getter]
    fn input_types<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        self.tuple(py, |method| &method.input_type)
    }

    /// Full names of the responses' types, in order of index.
    #[getter]
    fn output_types<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        self.tuple(py, |method| &method.output_type)
    }

    fn __len__(&self) -> usize {
        self.schema.methods().methods().len()
    }

    /// The index of a method by its bare name; `KeyError` when there is none.
    fn index(&self, name: &str) -> PyResult<usize> {
        let table = self.schema.methods();
        table.index_of(name).ok_or_else(|| {
            PyKeyError::new_err(format!("{} has no method {name:?}", table.service()))
        })
    }

    /// A serialized request of the method at `index` as JSON.
    ///
    /// `IndexError` for an index too high, `ValueError` for a body that is no such message.
    fn request_json(&self, index: u32, body: &[u8]) -> PyResult<String> {
        self.json(index, body, |method| &method.input_type)
    }

    /// A serialized response of the method at `index` as JSON; errors as for `request_json`.
    fn response_json(&self, index: u32, body: &[u8]) -> PyResult<String> {
        self.json(index, body, |method| &method.output_type)
    }
}
