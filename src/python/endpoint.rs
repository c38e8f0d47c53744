//! One service as one connection is served it.

use std::sync::Arc;

use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;

use crate::python::binding::Binding;
use crate::python::servicing::Servicing;

/// What the calls of one connection to one service share.
///
/// An object of Python's, so that each call keeps it by a count that needs no atomic step.
#[pyclass(frozen, module = "callmethod._core")]
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) servicing: Arc<Servicing>,
    /// The way back to the caller.
    pub(super) channel: Py<PyAny>,
    pub(super) binding: Py<Binding>,
}

#[pymethods]
impl Endpoint {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.channel)?;
        visit.call(&self.binding)
    }
}
