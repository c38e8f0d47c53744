//! `done`, and what stands in for it when a coroutine ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use pyo3::PyTraverseError;
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;

use crate::call::Hold;
use crate::metrics::{Counters, Outcome};
use crate::python::controller::ServerController;
use crate::python::enter;
use crate::python::errors::Described;
use crate::python::message::missing_fields;
use crate::status::{Code, Status};

/// The `done` of one call.
#[pyclass(frozen, weakref, module = "callmethod._core")]
#[derive(Debug)]
pub(super) struct Done {
    controller: Py<ServerController>,
    response_class: Py<PyAny>,
    response_has_required: bool,
    called: AtomicBool,
}

impl Done {
    pub(super) fn new(
        controller: Py<ServerController>,
        response_class: Py<PyAny>,
        response_has_required: bool,
    ) -> Self {
        let called = AtomicBool::new(false);
        Self {
            controller,
            response_class,
            response_has_required,
            called,
        }
    }

    /// Why this is no response, if it is none.
    fn fault(&self, response: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
        let py = response.py();
        let class = self.response_class.bind(py);
        if !response.is_instance(class)? {
            let (given, wanted) = (response.get_type().name()?, class.getattr("__name__")?);
            return Ok(Some(format!("the response is a {given}, not a {wanted}")));
        }
        if self.response_has_required {
            let missing = missing_fields(response)?;
            if !missing.is_empty() {
                return Ok(Some(format!("the response lacks {}", missing.join(", "))));
            }
        }
        Ok(None)
    }

    /// Ends the call with a response, or with none.
    pub(super) fn conclude(
        &self,
        py: Python<'_>,
        response: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let controller = self.controller.get();
        if let Some(text) = controller.failed_text() {
            controller.fail(py, &Status::new(Code::Internal, text));
            return Ok(());
        }
        let Some(response) = response else {
            controller.end(py, Outcome::Ok);
            return Ok(());
        };
        if let Some(fault) = self.fault(response)? {
            controller.fail(py, &Status::new(Code::Internal, fault));
            return Ok(());
        }
        if controller.end(py, Outcome::Ok) {
            controller
                .servicing()
                .discard_response(controller.full_name());
        }
        Ok(())
    }

    /// Ends the call with what its handler raised.
    pub(super) fn raise(&self, py: Python<'_>, error: PyErr) {
        let controller = self.controller.get();
        let described = Described::of(py, &error);
        controller.end(py, Outcome::Failed(described.status.code));
        controller.log_raised(py, &described, error);
    }
}

#[pymethods]
impl Done {
    /// Ends the call. A second call raises `RuntimeError`.
    #[pyo3(signature = (response=None, /))]
    fn __call__(&self, py: Python<'_>, response: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        enter::gate(py);
        if self.called.swap(true, Ordering::AcqRel) {
            let controller = self.controller.get();
            Counters::count(&controller.servicing().counters.late_endings);
            let text = format!("done was called twice for {}", controller.full_name());
            return Err(PyRuntimeError::new_err(text));
        }
        self.conclude(py, response)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.controller)?;
        visit.call(&self.response_class)
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        // Nobody can call it any more.
        Python::attach(|py| self.controller.get().let_go(py));
    }
}

/// Called with the result and the exception of a coroutine; ends the turn of its connection.
#[pyclass(frozen, module = "callmethod._core")]
#[derive(Debug)]
pub(super) struct Finish {
    /// None for the hooks of a connection, which end no call.
    done: Option<Py<Done>>,
    hold: Mutex<Option<Hold>>,
}

impl Finish {
    pub(super) fn new(done: Option<Py<Done>>, hold: Hold) -> Self {
        Self {
            done,
            hold: Mutex::new(Some(hold)),
        }
    }
}

#[pymethods]
impl Finish {
    fn __call__(
        &self,
        py: Python<'_>,
        result: Option<Bound<'_, PyAny>>,
        exception: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        enter::gate(py);
        let outcome = self.done.as_ref().map_or(Ok(()), |done| {
            let done = done.get();
            match (result, exception) {
                (_, Some(exception)) => {
                    done.raise(py, PyErr::from_value(exception));
                    Ok(())
                }
                (Some(result), None) => done.conclude(py, Some(&result)),
                (None, None) => Ok(()),
            }
        });
        drop(
            self.hold
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        outcome
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.done)
    }
}
