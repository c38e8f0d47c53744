//! The one place where a `Status` becomes an exception.

use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::net::address::AddressError;
use crate::python::imports;
use crate::schema::SchemaError;
use crate::status::{Code, Status};
use crate::wire::EncodeError;
use crate::wire::indexed::LayoutError;

/// `callmethod.RpcError(code, text, peer)`, as an object.
pub(super) fn rpc_error<'py>(
    py: Python<'py>,
    status: &Status,
    peer: Option<&str>,
) -> PyResult<Bound<'py, PyAny>> {
    let code = imports::code(py)?.call1((status.code.number(),))?;
    imports::rpc_error(py)?.call1((code, &status.text, peer))
}

/// The same, to be raised.
pub(super) fn raised(py: Python<'_>, status: &Status, peer: Option<&str>) -> PyErr {
    rpc_error(py, status, peer).map_or_else(|error| error, PyErr::from_value)
}

/// The status that an exception of a handler stands for.
pub(super) fn status_of(py: Python<'_>, error: &PyErr) -> Status {
    let value = error.value(py);
    let read = || -> PyResult<Option<Status>> {
        if !value.is_instance(imports::rpc_error(py)?)? {
            return Ok(None);
        }
        let number: u8 = value.getattr("code")?.getattr("value")?.extract()?;
        let text: String = value.getattr("text")?.extract()?;
        Ok(Code::from_number(number)
            .filter(|&code| code != Code::Ok)
            .map(|code| Status::new(code, text)))
    };
    read()
        .ok()
        .flatten()
        .unwrap_or_else(|| Status::new(Code::Internal, describe(py, error)))
}

/// Type and message of an exception; one whose `str` fails is described by its type alone.
pub(super) fn describe(py: Python<'_>, error: &PyErr) -> String {
    let name = error
        .get_type(py)
        .name()
        .map_or_else(|_| "exception".to_owned(), |n| n.to_string());
    match error.value(py).str() {
        Ok(text) if text.to_string().is_empty() => name,
        Ok(text) => format!("{name}: {text}"),
        Err(_) => name,
    }
}

/// How a failed call is told to its caller: a sender's own mistake is a `ValueError`.
pub(super) fn failed(py: Python<'_>, status: &Status, peer: &str) -> PyErr {
    match status.code {
        Code::InvalidArgument => PyValueError::new_err(status.text.clone()),
        _ => raised(py, status, Some(peer)),
    }
}

/// For blocking entries that found the I/O thread gone.
pub(super) fn stopped() -> PyErr {
    PyRuntimeError::new_err("callmethod's I/O thread has stopped")
}

/// An error of the operating system, as Python would raise it for `what`.
pub(super) fn os_error(error: &std::io::Error, what: &str) -> PyErr {
    match error.raw_os_error() {
        Some(number) => PyOSError::new_err((number, format!("{}: {what}", strerror(error)))),
        None => PyOSError::new_err(format!("{error}: {what}")),
    }
}

/// The text of an error without the number that Rust appends.
fn strerror(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

impl From<LayoutError> for PyErr {
    fn from(error: LayoutError) -> Self {
        PyValueError::new_err(error.to_string())
    }
}

impl From<EncodeError> for PyErr {
    fn from(error: EncodeError) -> Self {
        PyValueError::new_err(error.to_string())
    }
}

impl From<SchemaError> for PyErr {
    fn from(error: SchemaError) -> Self {
        PyValueError::new_err(error.to_string())
    }
}

impl From<AddressError> for PyErr {
    fn from(error: AddressError) -> Self {
        PyValueError::new_err(error.to_string())
    }
}
