//! The controller that a handler gets, which is also the state of its call.

use std::any::Any;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use pyo3::PyTraverseError;
use pyo3::exceptions::PyTypeError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::call::{Level, Link, LossListener};
use crate::metrics::{Counters, Outcome};
use crate::python::callbacks::{Callback, Callbacks};
use crate::python::errors::Described;
use crate::python::servicing::Servicing;
use crate::status::{Code, Status};

/// Closures that wait for the call to be cancelled or to end.
#[derive(Debug)]
struct Watch {
    callbacks: Arc<Callbacks>,
    closures: Mutex<Option<Vec<Py<PyAny>>>>,
}

impl Watch {
    fn closures(&self) -> MutexGuard<'_, Option<Vec<Py<PyAny>>>> {
        self.closures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has all closures called, and from now on each at once: none is called twice.
    fn fire(&self) {
        let closures = mem::take(&mut *self.closures()).unwrap_or_default();
        for closure in closures {
            self.callbacks.post(Callback::Plain(closure));
        }
    }

    fn add(&self, closure: Py<PyAny>) {
        match &mut *self.closures() {
            Some(closures) => closures.push(closure),
            None => self.callbacks.post(Callback::Plain(closure)),
        }
    }
}

impl LossListener for Watch {
    fn lost(&self) {
        self.fire();
    }
}

/// An object with a `__dict__` and nothing that a garbage collector could visit.
///
/// When PyO3 0.30 makes the first such object of a process, an abi3 build asks for the version of
/// the interpreter, once, and gives up the GIL while it does: after the object was allocated and
/// before its fields are set. A garbage collection on another thread then visits fields that are
/// not there, and crashes. So the first one is made at import, and has no fields.
#[pyclass(frozen, dict)]
struct FirstWithDict;

/// Makes the first object with a `__dict__`.
pub(super) fn settle_dicts(py: Python<'_>) -> PyResult<()> {
    Py::new(py, FirstWithDict).map(drop)
}

/// What a handler learns of its call, and how it says that the call failed.
#[pyclass(frozen, dict, weakref, module = "callmethod._core")]
#[derive(Debug)]
pub(super) struct ServerController {
    servicing: Arc<Servicing>,
    link: Arc<dyn Link>,
    channel: Py<PyAny>,
    /// Full name of the method.
    method: String,
    failed: Mutex<Option<String>>,
    ended: AtomicBool,
    watch: Arc<Watch>,
}

impl ServerController {
    pub(super) fn new(
        servicing: Arc<Servicing>,
        link: Arc<dyn Link>,
        channel: Py<PyAny>,
        method: String,
    ) -> Self {
        let callbacks = Arc::clone(&servicing.process.get().callbacks);
        let watch = Arc::new(Watch {
            callbacks,
            closures: Mutex::new(Some(Vec::new())),
        });
        Self {
            servicing,
            link,
            channel,
            method,
            failed: Mutex::new(None),
            ended: AtomicBool::new(false),
            watch,
        }
    }

    fn failure(&self) -> MutexGuard<'_, Option<String>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn servicing(&self) -> &Servicing {
        &self.servicing
    }

    pub(super) fn full_name(&self) -> &str {
        &self.method
    }

    /// The text of `SetFailed`, if it was called.
    pub(super) fn failed_text(&self) -> Option<String> {
        self.failure().clone()
    }

    /// Ends the call, if it has not ended, and says whether this was its ending.
    pub(super) fn end(&self, outcome: Outcome) -> bool {
        let counters = &self.servicing.counters;
        if self.ended.swap(true, Ordering::AcqRel) {
            Counters::count(&counters.late_endings);
            return false;
        }
        counters.call_ended(outcome);
        self.watch.fire();
        true
    }

    /// Ends the call as failed, and writes that down.
    pub(super) fn fail(&self, status: &Status) {
        if self.end(Outcome::Failed(status.code)) {
            let line = self.failure_line("call failed", status);
            self.servicing
                .process
                .get()
                .journal
                .write(Level::Error, line);
        }
    }

    /// Writes down what the handler raised; an `RpcError` is an answer and needs no traceback.
    pub(super) fn log_raised(&self, py: Python<'_>, described: &Described, error: PyErr) {
        let line = self.failure_line("handler raised", &described.status);
        let attached: Option<Box<dyn Any + Send>> = if described.is_answer {
            None
        } else {
            Some(Box::new(error.into_value(py).into_any()))
        };
        self.servicing
            .process
            .get()
            .journal
            .attach(Level::Error, line, attached);
    }

    fn failure_line(&self, what: &str, Status { code, text }: &Status) -> String {
        let (method, peer) = (&self.method, self.link.peer());
        format!("{what} method={method} peer={peer} code={code} text={text:?}")
    }

    /// Ends the call that its handler let go of; nothing happens when it has ended.
    pub(super) fn let_go(&self) {
        if self.ended.load(Ordering::Acquire) {
            return;
        }
        match self.failed_text() {
            Some(text) => self.fail(&Status::new(Code::Internal, text)),
            None => drop(self.end(Outcome::Unanswered)),
        }
    }
}

#[pymethods]
impl ServerController {
    /// An `RpcChannel` back to the caller, on the same connection.
    #[getter]
    fn rpc_channel(&self, py: Python<'_>) -> Py<PyAny> {
        self.channel.clone_ref(py)
    }

    /// The same as `rpc_channel`.
    #[getter]
    fn channel(&self, py: Python<'_>) -> Py<PyAny> {
        self.channel.clone_ref(py)
    }

    /// Where the caller is.
    #[getter]
    fn peer(&self) -> &str {
        self.link.peer()
    }

    /// Name of the protocol that the call came by.
    #[getter]
    fn protocol(&self) -> &'static str {
        self.link.protocol()
    }

    /// Full name of the called method.
    #[getter]
    fn method(&self) -> &str {
        &self.method
    }

    /// What the caller sent along; always empty on the indexed protocol.
    #[getter]
    #[expect(clippy::unused_self)]
    fn metadata<'py>(&self, py: Python<'py>) -> Bound<'py, PyDict> {
        PyDict::new(py)
    }

    /// Seconds to the caller's deadline; None where the protocol carries none.
    #[expect(clippy::unused_self)]
    fn time_remaining(&self) -> Option<f64> {
        None
    }

    /// Says that the call failed, and why; `done(None)` then ends it.
    #[pyo3(name = "SetFailed")]
    fn set_failed(&self, reason: String) {
        *self.failure() = Some(reason);
    }

    /// Whether `SetFailed` was called.
    #[pyo3(name = "Failed")]
    fn has_failed(&self) -> bool {
        self.failure().is_some()
    }

    /// The text of `SetFailed`; empty when it was not called.
    #[pyo3(name = "ErrorText")]
    fn error_text(&self) -> String {
        self.failed_text().unwrap_or_default()
    }

    /// Whether the connection to the caller was lost.
    #[pyo3(name = "IsCanceled")]
    fn is_canceled(&self) -> bool {
        self.link.is_lost()
    }

    /// Has `callback()` called exactly once: when the connection is lost, or after the call ended.
    #[pyo3(name = "NotifyOnCancel")]
    fn notify_on_cancel(&self, callback: Bound<'_, PyAny>) -> PyResult<()> {
        if !callback.is_callable() {
            return Err(PyTypeError::new_err("NotifyOnCancel takes a callable"));
        }
        self.watch.add(callback.unbind());
        let watch: Weak<Watch> = Arc::downgrade(&self.watch);
        self.link.on_loss(watch);
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.channel)?;
        // Whoever holds the lock is running, so nothing of this is garbage.
        if let Ok(closures) = self.watch.closures.try_lock() {
            for closure in closures.iter().flatten() {
                visit.call(closure)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        let closures = self.watch.closures().replace(Vec::new());
        drop(closures);
    }
}
