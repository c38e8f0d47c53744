//! The controller that a handler gets, which is also the state of its call.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use pyo3::PyTraverseError;
use pyo3::exceptions::{PyAttributeError, PyRuntimeError, PyTypeError};
use pyo3::gc::PyVisit;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyMappingProxy, PyString, PyType};

use crate::call::{Level, Link, Outcome, Ticket};
use crate::python::binding::{Binding, BoundMethod};
use crate::python::enclosed::{Enclosed, Envelope};
use crate::python::errors::Described;
use crate::python::servicing::Servicing;
use crate::python::watch::Watch;
use crate::python::{answer, enter, imports};
use crate::status::{Code, Status};
use crate::wire::baidu_std::errno;
use crate::wire::compress::Compression;
use crate::wire::{Answers, Body, Extras, Parts};

/// What a handler learns of its call, and how it says that the call failed.
///
/// Attributes of the user's are kept in a dict of its own making. `PyO3`'s `dict` option is unsafe
/// here (0.30, on 3.11 and 3.12): the interpreter makes that dict after the object is known to the
/// garbage collector and before its fields are set, and a collection in between visits the fields.
#[pyclass(frozen, weakref, module = "callmethod._core")]
#[derive(Debug)]
pub(super) struct ServerController {
    servicing: Arc<Servicing>,
    ticket: Arc<Ticket>,
    channel: Py<PyAny>,
    binding: Py<Binding>,
    /// The method's place in it.
    method: usize,
    /// What came beside the request.
    received: Extras,
    enclosed: Envelope,
    failed: Mutex<Option<String>>,
    /// Made at the first need.
    watch: OnceLock<Arc<Watch>>,
    attributes: OnceLock<Py<PyDict>>,
}

impl ServerController {
    pub(super) fn new(
        servicing: Arc<Servicing>,
        ticket: Arc<Ticket>,
        channel: Py<PyAny>,
        (binding, method): (Py<Binding>, usize),
        received: Extras,
    ) -> Self {
        Self {
            servicing,
            ticket,
            channel,
            binding,
            method,
            received,
            enclosed: Envelope::default(),
            failed: Mutex::new(None),
            watch: OnceLock::new(),
            attributes: OnceLock::new(),
        }
    }

    fn link(&self) -> &dyn Link {
        &**self.ticket.link()
    }

    /// Whether the caller waits for an answer.
    pub(super) fn answers(&self) -> bool {
        self.link().traits().answers != Answers::Never
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

    /// What is known of the method, which was held against the table when the call came in.
    pub(super) fn bound(&self) -> Option<&BoundMethod> {
        self.binding.get().methods.get(self.method)
    }

    /// Full name of the method.
    pub(super) fn full_name(&self) -> &str {
        let methods = self.binding.get().schema.methods().methods();
        methods
            .get(self.method)
            .map_or("", |method| &*method.full_name)
    }

    /// When the caller stops waiting; `None` when it did not say.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.ticket.deadline()
    }

    /// The text of `SetFailed`, if it was called.
    pub(super) fn failed_text(&self) -> Option<String> {
        self.failure().clone()
    }

    /// Ends the call with a serialized response, if it has not ended.
    pub(super) fn respond(&self, py: Python<'_>, response: &[u8]) {
        let Some(enclosed) = self.enclosed.take() else {
            let body = Body {
                bytes: response,
                compression: Compression::None,
            };
            self.ticket.respond(body, &Extras::NONE);
            return;
        };
        let Enclosed { parts, compression } = *enclosed;
        match answer::packed(py, response, compression) {
            Ok(body) => {
                let extras = Extras::from(parts);
                self.ticket.respond(&body, &extras);
            }
            Err(error) => self.fail(&Status::new(Code::Internal, error.to_string())),
        }
    }

    /// Ends a call that needs no answer, if it has not ended, and says whether this was its end.
    pub(super) fn finish(&self, outcome: Outcome) -> bool {
        self.ticket.finish(outcome)
    }

    fn deny(&self, status: &Status) -> bool {
        let Some(enclosed) = self.enclosed.take() else {
            return self.ticket.fail(status);
        };
        let metadata = enclosed.parts.metadata;
        let extras = Extras::from(Parts {
            metadata,
            ..Parts::default()
        });
        self.ticket.deny(status, &extras)
    }

    /// Ends the call as failed, and writes that down.
    pub(super) fn fail(&self, status: &Status) {
        let line = self.failure_line("call failed", status);
        if self.deny(status) {
            self.servicing.log(Level::Error, line);
        }
    }

    /// Ends the call with what its handler raised, and writes that down; an `RpcError` is an
    /// answer and needs no traceback.
    pub(super) fn raised(&self, py: Python<'_>, error: PyErr) {
        let Described {
            mut status,
            is_answer,
        } = Described::of(py, &error);
        status.native = status.native.map(errno::chosen);
        let line = self.failure_line("handler raised", &status);
        let late = format!(
            "handler raised after the end of its call method={} peer={} text={:?}",
            self.full_name(),
            self.link().peer(),
            status.text
        );
        let told = if is_answer || self.servicing.expose_errors {
            status
        } else {
            Status::new(status.code, "internal error")
        };
        // The caller knows nothing of what came after the end.
        let line = if self.deny(&told) { line } else { late };
        let attached: Option<Box<dyn Any + Send>> = if is_answer {
            None
        } else {
            Some(Box::new(error.into_value(py).into_any()))
        };
        let journal = &self.servicing.process.get().journal;
        journal.attach(Level::Error, line, attached);
    }

    fn failure_line(&self, what: &str, Status { code, text, .. }: &Status) -> String {
        let (method, peer) = (self.full_name(), self.link().peer());
        format!("{what} method={method} peer={peer} code={code} text={text:?}")
    }

    /// Ends the call that its handler let go of; nothing happens when it has ended.
    pub(super) fn let_go(&self) {
        if self.ticket.is_ended() {
            return;
        }
        match self.failed_text() {
            Some(text) => self.fail(&Status::new(Code::Internal, text)),
            None if self.answers() => {
                self.fail(&Status::new(Code::Internal, "the handler dropped done"));
            }
            None => drop(self.finish(Outcome::Unanswered)),
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
    fn peer(&self) -> String {
        self.link().peer().to_owned()
    }

    /// How the connection is secured and whom the caller has proven to be by it: a
    /// `callmethod.TlsInfo`; None without TLS.
    #[getter]
    fn tls<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.channel.bind(py).getattr(intern!(py, "_tls"))
    }

    /// What `authenticate` gave for the caller; None where it gave True, or is not asked.
    #[getter]
    fn peer_identity<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.channel.bind(py).getattr(intern!(py, "_identity"))
    }

    /// Name of the protocol that the call came by.
    #[getter]
    fn protocol(&self) -> &'static str {
        self.link().protocol()
    }

    /// Full name of the called method.
    #[getter]
    fn method(&self) -> &str {
        self.full_name()
    }

    /// The free keys and values that came along, brpc's `user_fields`.
    #[getter]
    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        answer::dict(py, self.received.metadata())
    }

    /// The raw bytes that came after the request.
    #[getter]
    fn request_attachment<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.received.attachment())
    }

    /// The raw bytes that go after the response. Settable.
    #[getter]
    fn response_attachment<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        self.enclosed
            .with(|enclosed| PyBytes::new(py, &enclosed.parts.attachment))
    }

    /// The free keys and values that go beside the response, read-only. Settable as a whole.
    #[getter]
    fn response_metadata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyMappingProxy>> {
        let entries = self
            .enclosed
            .with(|enclosed| enclosed.parts.metadata.clone());
        let dict = answer::dict(py, &entries)?;
        Ok(PyMappingProxy::new(py, dict.as_mapping()))
    }

    /// How the response is compressed: none, snappy, gzip or zlib. Settable.
    #[getter]
    fn response_compression(&self) -> &'static str {
        self.enclosed.with(|enclosed| enclosed.compression.name())
    }

    /// What a checksum of the response covers: none, message or `message_and_attachment`.
    /// Settable.
    #[getter]
    fn response_checksum(&self) -> &'static str {
        self.enclosed
            .with(|enclosed| answer::checksum_name(enclosed.parts.checksum))
    }

    /// The number that the caller groups its log lines by; None when it gave none.
    #[getter]
    fn log_id(&self) -> Option<i64> {
        self.received.parts()?.trace.log_id
    }

    /// The caller's trace; None when it gave none.
    #[getter]
    fn trace_id(&self) -> Option<i64> {
        self.received.parts()?.trace.trace_id
    }

    /// The caller's span; None when it gave none.
    #[getter]
    fn span_id(&self) -> Option<i64> {
        self.received.parts()?.trace.span_id
    }

    /// The span above the caller's; None when it gave none.
    #[getter]
    fn parent_span_id(&self) -> Option<i64> {
        self.received.parts()?.trace.parent_span_id
    }

    /// The id of the request at the root of the trace; None when the caller gave none.
    #[getter]
    fn request_id(&self) -> Option<&str> {
        self.received.parts()?.trace.request_id.as_deref()
    }

    /// Seconds to the caller's deadline, 0 when it has passed; None when the caller sent none.
    fn time_remaining(&self) -> Option<f64> {
        let deadline = self.ticket.deadline()?;
        let left = deadline.saturating_duration_since(Instant::now());
        Some(left.as_secs_f64())
    }

    /// Says that the call failed, and why; `done(None)` then ends it.
    #[pyo3(name = "SetFailed")]
    fn set_failed(&self, py: Python<'_>, reason: &Bound<'_, PyAny>) -> PyResult<()> {
        // Often an exception: what its `str()` gives is meant.
        let text = enter::call(PyType::new::<PyString>(py).as_any(), (reason,))?;
        *self.failure() = Some(answer::text("reason", &text)?);
        Ok(())
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

    /// Whether the caller waits no more: its deadline passed, or the connection was lost.
    #[pyo3(name = "IsCanceled")]
    fn is_canceled(&self) -> bool {
        self.ticket.is_cancelled()
    }

    /// Has `callback()` called exactly once: when the call is cancelled, or after it ended.
    #[pyo3(name = "NotifyOnCancel")]
    fn notify_on_cancel(&self, callback: Bound<'_, PyAny>) -> PyResult<()> {
        if !callback.is_callable() {
            return Err(PyTypeError::new_err("NotifyOnCancel takes a callable"));
        }
        let watch = self
            .watch
            .get_or_init(|| Watch::new(Arc::clone(&self.servicing.process.get().callbacks)));
        watch.add(callback.unbind());
        let (ended, lost) = (Arc::downgrade(watch), Arc::downgrade(watch));
        self.ticket.on_end(ended);
        if !self.answers() {
            self.link().on_loss(lost);
        }
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
        if let Some(set) = slf.get().enclosed.set(&name.to_cow()?, value) {
            return set;
        }
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

    /// What `isinstance` asks for beside the type, which cannot derive from a class of Python's: an
    /// `RpcController`.
    #[getter(__class__)]
    #[expect(clippy::unused_self)]
    fn class<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyType>> {
        imports::seen_as(py).cloned()
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
        visit.call(&self.binding)?;
        match self.watch.get() {
            Some(watch) => watch.traverse(&visit),
            None => Ok(()),
        }
    }

    fn __clear__(&self) {
        if let Some(watch) = self.watch.get() {
            watch.clear();
        }
    }
}
