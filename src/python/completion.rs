//! `done`, and what stands in for it when a coroutine ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::PyTraverseError;
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::PyVisit;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::call::{Hold, Outcome, Permit};
use crate::metrics::Counters;
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
        let failed = |text: String| {
            controller.fail(Status::new(Code::Internal, text));
            Ok(())
        };
        if let Some(text) = controller.failed_text() {
            return failed(text);
        }
        let Some(response) = response else {
            if controller.answers() {
                return failed("the handler gave no response".to_owned());
            }
            controller.finish(Outcome::Ok);
            return Ok(());
        };
        if let Some(fault) = self.fault(response)? {
            return failed(fault);
        }
        if !controller.answers() {
            if controller.finish(Outcome::Ok) {
                let method = controller.full_name();
                controller.servicing().discard_response(method);
            }
            return Ok(());
        }
        // Required fields were looked for, and what else may fail is for the log.
        let serialize = response.getattr(intern!(py, "SerializePartialToString"))?;
        match enter::call(&serialize, ()).and_then(|body| Ok(body.cast_into::<PyBytes>()?)) {
            Ok(body) => {
                controller.respond(py, body.as_bytes());
                Ok(())
            }
            Err(error) => {
                let described = Described::of(py, &error).status.text;
                failed(format!("the response does not serialize: {described}"))
            }
        }
    }

    /// Ends the call with what its handler raised.
    pub(super) fn raise(&self, py: Python<'_>, error: PyErr) {
        self.controller.get().raised(py, error);
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
        self.controller.get().let_go();
    }
}

/// Called with the result and the exception of a coroutine; ends the turn of its connection.
#[pyclass(frozen, module = "callmethod._core")]
#[derive(Debug)]
pub(super) struct Finish {
    /// None for the hooks of a connection, which end no call.
    done: Option<Py<Done>>,
    running: Mutex<Option<(Hold, Option<Arc<Permit>>)>>,
}

impl Finish {
    pub(super) fn new(done: Option<Py<Done>>, hold: Hold, permit: Option<Arc<Permit>>) -> Self {
        Self {
            done,
            running: Mutex::new(Some((hold, permit))),
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
            self.running
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
