//! What the border asks of the user's messages, through the methods that every protobuf has.

use pyo3::intern;
use pyo3::prelude::*;

use crate::python::enter;

/// Paths of required fields that a message lacks.
pub(super) fn missing_fields(message: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    let py = message.py();
    let complete = enter::call_method(message, intern!(py, "IsInitialized"))?;
    if complete.is_truthy()? {
        return Ok(Vec::new());
    }
    enter::call(&message.getattr("FindInitializationErrors")?, ())?.extract()
}
