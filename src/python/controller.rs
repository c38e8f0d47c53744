//! The controller that a handler gets, which is also the state of its call.

use std::any::Any;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use pyo3::PyTraverseError;
use pyo3::exceptions::{PyAttributeError, PyRuntimeError, PyTypeError};
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::call::{Level, Link, LossListener};
use crate::metrics::{Counters, Outcome};
use crate::python::callbacks::{Callback, Callbacks};
use crate::python::errors::Described;
use crate::python::servicing::Servicing;
use crate::status::{Code, Status};

/// Closures that wait for the call to be cancelled or to end.
///
/// They are touched by attached threads only: the garbage collector looks at them twice in one
/// collection, and takes for garbage what went away in between.
#[derive(Debug)]
pub(super) struct Watch {
    me: Weak<Self>,
    callbacks: Arc<Callbacks>,
    closures: Mutex<Option<Vec<Py<PyAny>>>>,
}

impl Watch {
    fn closures(&self) -> MutexGuard<'_, Option<Vec<Py<PyAny>>>> {
        self.closures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All closures, to be called; one that is added later is called at once.
    pub(super) fn take(&self, _attached: Python<'_>) -> Vec<Py<PyAny>> {
        mem::take(&mut *self.closures()).unwrap_or_default()
    }

    /// Has all closures called.
    fn fire(&self, py: Python<'_>) {
        for closure in self.take(py) {
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
        // The I/O thread says this, which is not attached.
        if let Some(watch) = self.me.upgrade() {
            self.callbacks.post(Callback::Lost(watch));
        }
    }
}

/// What a handler learns of its call, and how it says that the call failed.
///
/// Attributes of the user's are kept in a dict of its own making. `PyO3`'s `dict` option is unsafe
/// here (0.30, on 3.11 and 3.12): the interpreter makes that dict after the object is known to the
/// garbage collector and before its fields are set, and a collection in between visits the fields.
#[pyclass(frozen, weakref, module = "callmethod._core")]
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
    attributes: OnceLock<Py<PyDict>>,
}

impl ServerController {
    pub(super) fn new(
        servicing: Arc<Servicing>,
        link: Arc<dyn Link>,
        channel: Py<PyAny>,
        method: String,
    ) -> Self {
        let callbacks = Arc::clone(&servicing.process.get().callbacks);
        let watch = Arc::new_cyclic(|me| Watch {
            me: Weak::clone(me),
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
            attributes: OnceLock::new(),
        }
    }

    /// The dict of the user's attributes, made at the first need.
    fn attributes(&self, py: Python<'_>) -> &Py<PyDict> {
        // Made before and not inside the initialisation, where a second thread would wait for it
        // without giving up the GIL.
        let made = match self.attributes.get() {
            Some(attributes) => return attributes,
            None => PyDict::new(py).unbind(),
        };
        self.attributes.get_or_init(|| made)
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
    pub(super) fn end(&self, py: Python<'_>, outcome: Outcome) -> bool {
        let counters = &self.servicing.counters;
        if self.ended.swap(true, Ordering::AcqRel) {
            Counters::count(&counters.late_endings);
            return false;
        }
        counters.call_ended(outcome);
        self.watch.fire(py);
        true
    }

    /// Ends the call as failed, and writes that down.
    pub(super) fn fail(&self, py: Python<'_>, status: &Status) {
        if self.end(py, Outcome::Failed(status.code)) {
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
    pub(super) fn let_go(&self, py: Python<'_>) {
        if self.ended.load(Ordering::Acquire) {
            return;
        }
        match self.failed_text() {
            Some(text) => self.fail(py, &Status::new(Code::Internal, text)),
            None => drop(self.end(py, Outcome::Unanswered)),
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

    /// Forgets the last call: for controllers of outgoing calls.
    #[pyo3(name = "Reset")]
    #[expect(clippy::unused_self)]
    fn reset(&self) -> PyResult<()> {
        Err(PyRuntimeError::new_err(
            "Reset() is for the caller's controller, not a handler's",
        ))
    }

    /// Gives the call up: for controllers of outgoing calls.
    #[pyo3(name = "StartCancel")]
    #[expect(clippy::unused_self)]
    fn start_cancel(&self) -> PyResult<()> {
        Err(PyRuntimeError::new_err(
            "StartCancel() is for the caller's controller, not a handler's",
        ))
    }

    fn __getattr__(&self, py: Python<'_>, name: &Bound<'_, PyString>) -> PyResult<Py<PyAny>> {
        let found = match self.attributes.get() {
            Some(attributes) => attributes.bind(py).get_item(name)?,
            None => None,
        };
        found.map(Bound::unbind).ok_or_else(|| {
            PyAttributeError::new_err(format!("the controller has no attribute {name:?}"))
        })
    }

    fn __setattr__(
        slf: &Bound<'_, Self>,
        name: &Bound<'_, PyString>,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        if slf.get_type().hasattr(name)? {
            let text = format!("{name:?} of a controller cannot be set");
            return Err(PyAttributeError::new_err(text));
        }
        slf.get()
            .attributes(slf.py())
            .bind(slf.py())
            .set_item(name, value)
    }

    fn __delattr__(&self, py: Python<'_>, name: &Bound<'_, PyString>) -> PyResult<()> {
        let missing =
            |_| PyAttributeError::new_err(format!("the controller has no attribute {name:?}"));
        self.attributes(py).bind(py).del_item(name).map_err(missing)
    }

    /// The attributes that the user set.
    #[getter(__dict__)]
    fn dict(&self, py: Python<'_>) -> Py<PyDict> {
        self.attributes(py).clone_ref(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.channel)?;
        if let Some(attributes) = self.attributes.get() {
            visit.call(attributes)?;
        }
        // Nobody holds the lock and gives up the GIL, so it is never taken here.
        if let Ok(closures) = self.watch.closures.try_lock() {
            for closure in closures.iter().flatten() {
                visit.call(closure)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        let closures = self.watch.closures().take();
        drop(closures);
    }
}
