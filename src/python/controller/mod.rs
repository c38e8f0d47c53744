//! The controller that a handler gets, which is also the state of its call.

mod attributes;
mod ending;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use pyo3::PyTraverseError;
use pyo3::exceptions::{PyAttributeError, PyRuntimeError, PyTypeError};
use pyo3::gc::PyVisit;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyMappingProxy, PyString, PyType};

use crate::call::{Link, Ticket};
use crate::python::binding::{Binding, BoundMethod};
use crate::python::enclosed::Envelope;
use crate::python::endpoint::Endpoint;
use crate::python::servicing::Servicing;
use crate::python::watch::Watch;
use crate::python::{answer, enter, imports};
use crate::wire::{Answers, Extras};
use attributes::Attributes;

/// What a handler learns of its call, and how it says that the call failed.
#[pyclass(frozen, weakref, module = "callmethod._core")]
#[derive(Debug)]
pub(super) struct ServerController {
    endpoint: Py<Endpoint>,
    /// The method's place in the binding.
    method: usize,
    ticket: Arc<Ticket>,
    /// What came beside the request.
    received: Extras,
    enclosed: Envelope,
    /// Made at the first need, as is the watch: most calls do without, and a lock that nobody
    /// wants costs something, too.
    failed: OnceLock<Mutex<String>>,
    watch: OnceLock<Arc<Watch>>,
    attributes: Attributes,
}

impl ServerController {
    pub(super) fn new(
        endpoint: Py<Endpoint>,
        method: usize,
        ticket: Arc<Ticket>,
        received: Extras,
    ) -> Self {
        Self {
            endpoint,
            method,
            ticket,
            received,
            enclosed: Envelope::default(),
            failed: OnceLock::new(),
            watch: OnceLock::new(),
            attributes: Attributes::default(),
        }
    }

    /// The duty to end its call.
    pub(super) fn ticket(&self) -> &Arc<Ticket> {
        &self.ticket
    }

    fn link(&self) -> &dyn Link {
        &**self.ticket.link()
    }

    fn binding(&self) -> &Binding {
        self.endpoint.get().binding.get()
    }

    fn way_back(&self) -> &Py<PyAny> {
        &self.endpoint.get().channel
    }

    /// Whether the caller waits for an answer.
    pub(super) fn answers(&self) -> bool {
        self.link().traits().answers != Answers::Never
    }

    pub(super) fn servicing(&self) -> &Servicing {
        &self.endpoint.get().servicing
    }

    /// What is known of the method, which was held against the table when the call came in.
    pub(super) fn bound(&self) -> Option<&BoundMethod> {
        self.binding().methods.get(self.method)
    }

    /// Full name of the method.
    pub(super) fn full_name(&self) -> &str {
        let methods = self.binding().schema.methods().methods();
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
        let failed = self.failed.get()?;
        let text = failed.lock().unwrap_or_else(PoisonError::into_inner);
        Some(text.clone())
    }
}

#[pymethods]
impl ServerController {
    /// An `RpcChannel` back to the caller, on the same connection.
    #[getter]
    fn rpc_channel(&self, py: Python<'_>) -> Py<PyAny> {
        self.way_back().clone_ref(py)
    }

    /// The same as `rpc_channel`.
    #[getter]
    fn channel(&self, py: Python<'_>) -> Py<PyAny> {
        self.way_back().clone_ref(py)
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
        self.way_back().bind(py).getattr(intern!(py, "_tls"))
    }

    /// What `authenticate` gave for the caller; None where it gave True, or is not asked.
    #[getter]
    fn peer_identity<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.way_back().bind(py).getattr(intern!(py, "_identity"))
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
        let text = answer::text("reason", &text)?;
        let failed = self.failed.get_or_init(|| Mutex::new(text.clone()));
        *failed.lock().unwrap_or_else(PoisonError::into_inner) = text;
        Ok(())
    }

    /// Whether `SetFailed` was called.
    #[pyo3(name = "Failed")]
    fn has_failed(&self) -> bool {
        self.failed.get().is_some()
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
            .get_or_init(|| Watch::new(Arc::clone(&self.servicing().process.get().callbacks)));
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
        self.attributes.get(py, name)
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
        slf.get().attributes.set(name, value)
    }

    fn __delattr__(&self, name: &Bound<'_, PyString>) -> PyResult<()> {
        self.attributes.delete(name)
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
        self.attributes.dict(py).clone_ref(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.endpoint)?;
        self.attributes.traverse(&visit)?;
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
