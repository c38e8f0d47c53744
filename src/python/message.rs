//! What the border asks of the user's messages, through the methods that every protobuf has.

use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::python::enter;
use crate::wire::Tags;

/// Paths of required fields that a message lacks.
pub(super) fn missing_fields(message: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    let py = message.py();
    let complete = enter::call_method(message, intern!(py, "IsInitialized"), &[])?;
    if complete.is_truthy()? {
        return Ok(Vec::new());
    }
    enter::call(&message.getattr("FindInitializationErrors")?, ())?.extract()
}

/// `FromString`, `IsInitialized` unless nothing is required, tags of what is.
pub(super) type ParserParts = (Py<PyAny>, Option<Py<PyAny>>, Option<Vec<u64>>);

/// What makes messages of one class of bytes.
#[derive(Debug)]
pub(super) struct Parser {
    parse: Py<PyAny>,
    /// Message to whether it is complete; none when it cannot lack required fields.
    is_complete: Option<Py<PyAny>>,
    /// What makes a message complete when it is there; none where tags do not tell.
    required: Option<Tags>,
}

/// Why bytes are no message of a class.
pub(super) enum Fault {
    /// What parsing raised.
    Raised(PyErr),
    /// Paths of the required fields that are not there.
    Lacks(Vec<String>),
}

impl From<PyErr> for Fault {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

impl From<ParserParts> for Parser {
    fn from((parse, is_complete, required): ParserParts) -> Self {
        Self {
            parse,
            is_complete,
            required: required.map(Tags::from),
        }
    }
}

impl Parser {
    /// The message in `body`.
    pub(super) fn parse<'py>(
        &self,
        py: Python<'py>,
        body: &[u8],
    ) -> Result<Bound<'py, PyAny>, Fault> {
        let bytes = PyBytes::new(py, body);
        let message = enter::apply(self.parse.bind(py), &[bytes.as_any()])?;
        let is_there = |tags: &Tags| tags.are_in(body);
        if let Some(is_complete) = &self.is_complete
            && !self.required.as_ref().is_some_and(is_there)
        {
            let complete = enter::apply(is_complete.bind(py), &[&message])?;
            if !complete.is_truthy()? {
                return Err(Fault::Lacks(missing_fields(&message)?));
            }
        }
        Ok(message)
    }

    /// For the garbage collector.
    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.parse)?;
        visit.call(&self.is_complete)
    }
}
