//! Attributes of the user's.

use std::sync::OnceLock;

use pyo3::PyTraverseError;
use pyo3::exceptions::PyAttributeError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

/// What the user sets, in a dict that is made at the first need.
///
/// `PyO3`'s `dict` option is unsafe here (0.30, on 3.11 and 3.12): the interpreter makes that dict
/// after the object is known to the garbage collector and before its fields are set, and a
/// collection in between visits the fields.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    dict: OnceLock<Py<PyDict>>,
}

impl Attributes {
    /// All of them, by name.
    pub(super) fn dict(&self, py: Python<'_>) -> &Py<PyDict> {
        // Made before and not inside the initialisation, where a second thread would wait for it
        // without giving up the GIL.
        let made = match self.dict.get() {
            Some(dict) => return dict,
            None => PyDict::new(py).unbind(),
        };
        self.dict.get_or_init(|| made)
    }

    pub(super) fn get(&self, py: Python<'_>, name: &Bound<'_, PyString>) -> PyResult<Py<PyAny>> {
        let found = match self.dict.get() {
            Some(dict) => dict.bind(py).get_item(name)?,
            None => None,
        };
        found.map(Bound::unbind).ok_or_else(|| missing(name))
    }

    pub(super) fn set(&self, name: &Bound<'_, PyString>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = name.py();
        self.dict(py).bind(py).set_item(name, value)
    }

    pub(super) fn delete(&self, name: &Bound<'_, PyString>) -> PyResult<()> {
        let py = name.py();
        let deleted = self.dict(py).bind(py).del_item(name);
        deleted.map_err(|_| missing(name))
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.dict.get().map_or(Ok(()), |dict| visit.call(dict))
    }
}

fn missing(name: &Bound<'_, PyString>) -> PyErr {
    PyAttributeError::new_err(format!("the controller has no attribute {name:?}"))
}
