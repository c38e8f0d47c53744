//! The one place where a `Status` becomes an exception.

use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::net::address::AddressError;
use crate::python::{enter, imports};
use crate::schema::SchemaError;
use crate::status::{Code, Status};
use crate::wire::EncodeError;
use crate::wire::indexed::LayoutError;

/// `callmethod.RpcError(code, text, peer, native_code)`, as an object.
pub(super) fn rpc_error<'py>(
    py: Python<'py>,
    status: &Status,
    peer: Option<&str>,
) -> PyResult<Bound<'py, PyAny>> {
    enter::call(
        imports::rpc_error(py)?,
        (status.code.number(), &status.text, peer, status.native),
    )
}

/// The same, raised.
pub(super) fn raised(py: Python<'_>, status: &Status, peer: &str) -> PyErr {
    match rpc_error(py, status, Some(peer)) {
        Ok(error) => PyErr::from_value(error),
        Err(error) => error,
    }
}

/// What an exception says: of an `RpcError` its own code and text, of others INTERNAL, type and
/// message.
pub(super) struct Described {
    pub(super) status: Status,
    /// Whether it is an `RpcError`: an answer, not an accident.
    pub(super) is_answer: bool,
}

impl Described {
    /// Asks Python, since the message of an exception is made by code of the user's.
    pub(super) fn of(py: Python<'_>, error: &PyErr) -> Self {
        let ask = || -> PyResult<(Option<u8>, String, Option<i32>)> {
            enter::call(imports::describe(py)?, (error.value(py),))?.extract()
        };
        let (number, text, native) =
            ask().unwrap_or_else(|_| (None, "an exception".to_owned(), None));
        let code = number.and_then(Code::from_number);
        let mut status = Status::new(code.unwrap_or(Code::Internal), text);
        status.native = native;
        Self {
            status,
            is_answer: code.is_some(),
        }
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
