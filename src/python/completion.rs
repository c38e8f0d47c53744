//! `done`.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::PyTraverseError;
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::PyVisit;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::call::Outcome;
use crate::metrics::Counters;
use crate::python::binding::BoundMethod;
use crate::python::controller::ServerController;
use crate::python::enter;
use crate::python::errors::Described;
use crate::python::message::missing_fields;
use crate::python::vectorcall::{Called, Entry};
use crate::status::{Code, Status};

/// The `done` of one call.
#[pyclass(frozen, weakref, module = "callmethod._core")]
#[derive(Debug)]
pub(super) struct Done {
    controller: Py<ServerController>,
    called: AtomicBool,
    entry: Entry<Self>,
}

impl Called for Done {
    fn called(&self, response: Option<&Bound<'_, PyAny>>, py: Python<'_>) -> PyResult<()> {
        if self.called.swap(true, Ordering::AcqRel) {
            let controller = self.controller.get();
            Counters::count(&controller.servicing().counters.late_endings);
            let text = format!("done was called twice for {}", controller.full_name());
            return Err(PyRuntimeError::new_err(text));
        }
        self.conclude(py, response)
    }

    fn entry(&self) -> &Entry<Self> {
        &self.entry
    }

    fn told() -> &'static Once {
        static TOLD: Once = Once::new();
        &TOLD
    }
}

impl Done {
    pub(super) fn new(controller: Py<ServerController>) -> Self {
        Self {
            controller,
            called: AtomicBool::new(false),
            entry: Entry::new(),
        }
    }

    /// What is known of the called method.
    pub(super) fn bound(&self) -> Option<&BoundMethod> {
        self.controller.get().bound()
    }

    /// The bytes of a response, or why it is none.
    fn serialized<'py>(
        bound: &BoundMethod,
        response: &Bound<'py, PyAny>,
    ) -> PyResult<Result<Bound<'py, PyBytes>, String>> {
        let py = response.py();
        let class = bound.response_class.bind(py);
        let body = if response.get_type().is(class) {
            enter::apply(bound.serialize.bind(py), &[response])
        } else if response.is_instance(class)? {
            // A subclass may do it in its own way.
            enter::call_method(response, intern!(py, "SerializeToString"), &[])
        } else {
            let (given, wanted) = (response.get_type().name()?, class.getattr("__name__")?);
            return Ok(Err(format!("the response is a {given}, not a {wanted}")));
        };
        let error = match body.and_then(|body| Ok(body.cast_into::<PyBytes>()?)) {
            Ok(body) => return Ok(Ok(body)),
            Err(error) => error,
        };
        // protobuf says what is missing in words of its own, which differ.
        let missing = if bound.response_has_required {
            missing_fields(response)?
        } else {
            Vec::new()
        };
        Ok(Err(if missing.is_empty() {
            let described = Described::of(py, &error).status.text;
            format!("the response does not serialize: {described}")
        } else {
            format!("the response lacks {}", missing.join(", "))
        }))
    }

    /// Ends the call with a response, or with none.
    pub(super) fn conclude(
        &self,
        py: Python<'_>,
        response: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let controller = self.controller.get();
        let failed = |text: String| {
            controller.fail(&Status::new(Code::Internal, text));
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
        let Some(bound) = controller.bound() else {
            return Ok(());
        };
        let body = match Self::serialized(bound, response)? {
            Ok(body) => body,
            Err(fault) => return failed(fault),
        };
        if controller.answers() {
            controller.respond(py, body.as_bytes());
        } else if controller.finish(Outcome::Ok) {
            controller
                .servicing()
                .discard_response(controller.full_name());
        }
        Ok(())
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
        self.called(response, py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.controller)
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        // Nobody can call it any more.
        self.controller.get().let_go();
    }
}
