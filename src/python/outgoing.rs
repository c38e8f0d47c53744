//! Calls that go out, whatever carries them and whoever waits: three faces over one path.

use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::call::{Ended, Link, Outbound, Waiter};
use crate::net::client::{Channel, Delivery as UnderWay};
use crate::python::answer::{self, CallExtras, Received};
use crate::python::callbacks::Callback;
use crate::python::enter;
use crate::python::mailbox::Mailbox;
use crate::python::options::seconds;
use crate::python::process::Process;
use crate::python::wait::wait;
use crate::wire::compress::Compression;
use crate::wire::{EncodeError, Extras, MethodName};

/// A method as wires name it, made once for each.
#[pyclass(frozen, module = "callmethod._core")]
pub(super) struct Method {
    name: Arc<MethodName>,
}

#[pymethods]
impl Method {
    #[new]
    fn new(service: String, method: String, index: u32) -> Self {
        Self {
            name: Arc::new(MethodName {
                service,
                method,
                index,
            }),
        }
    }
}

/// What carries calls.
#[derive(Clone)]
pub(super) enum Carrier {
    /// A channel to a server.
    Channel(Arc<Channel>),
    /// The way back to a caller.
    Link(Arc<dyn Link>),
}

/// What cancels a call.
enum Cancel {
    Channel(UnderWay),
    Link(Arc<dyn Link>, Option<u64>),
}

impl Carrier {
    fn start(&self, call: Outbound, waiter: Waiter) -> Cancel {
        match self {
            Self::Channel(channel) => Cancel::Channel(channel.call(call, waiter)),
            Self::Link(link) => Cancel::Link(Arc::clone(link), link.call(&call, waiter)),
        }
    }
}

/// A request as Python hands it over.
struct Request<'a> {
    method: &'a Method,
    body: &'a [u8],
    timeout: Option<f64>,
    extras: Option<&'a CallExtras>,
}

impl Request<'_> {
    fn outbound(&self, py: Python<'_>) -> PyResult<Outbound> {
        let deadline = match self.timeout {
            None => None,
            // A deadline beyond the end of the clock is none.
            Some(timeout) => Instant::now().checked_add(seconds(timeout)?),
        };
        let compression = self
            .extras
            .map_or(Compression::None, |extras| extras.compression);
        Ok(Outbound {
            method: Arc::clone(&self.method.name),
            body: answer::packed(py, self.body, compression)
                .map_err(|error| PyValueError::new_err(error.to_string()))?,
            extras: self.extras.map_or_else(Extras::default, CallExtras::extras),
            deadline,
        })
    }
}

/// What makes calls of a channel or on a connection.
#[pyclass(frozen, module = "callmethod._core")]
pub(super) struct Caller {
    pub(super) process: Py<Process>,
    pub(super) carrier: Carrier,
    /// Whom the calls are to.
    pub(super) peer: Arc<str>,
    /// Most bytes of a response, once inflated.
    pub(super) limit: usize,
}

#[pymethods]
impl Caller {
    /// Starts a call that somebody will wait for.
    #[pyo3(signature = (method, body, timeout, extras))]
    fn call(
        &self,
        py: Python<'_>,
        method: &Method,
        body: &[u8],
        timeout: Option<f64>,
        extras: Option<&CallExtras>,
    ) -> PyResult<Delivery> {
        enter::gate(py);
        let request = Request {
            method,
            body,
            timeout,
            extras,
        };
        let outbound = request.outbound(py)?;
        let (sender, receiver) = sync_channel(1);
        let waiter = Waiter::new(move |end| {
            // Nobody waits any more when this fails.
            let _ = sender.send(end);
        });
        let cancel = self.carrier.start(outbound, waiter);
        Ok(Delivery::new(cancel, Some(receiver), self))
    }

    /// Starts a call whose end `settle(error, body, extras)` is told: on the callbacks' thread, or
    /// on the event loop of `mailbox`. `ValueError` for one that cannot be sent.
    #[pyo3(signature = (method, body, timeout, extras, settle, mailbox))]
    #[expect(clippy::too_many_arguments)]
    fn call_then(
        &self,
        py: Python<'_>,
        method: &Method,
        body: &[u8],
        timeout: Option<f64>,
        extras: Option<&CallExtras>,
        settle: Py<PyAny>,
        mailbox: Option<&Mailbox>,
    ) -> PyResult<Delivery> {
        enter::gate(py);
        let request = Request {
            method,
            body,
            timeout,
            extras,
        };
        let outbound = request.outbound(py)?;
        let callbacks = Arc::clone(match mailbox {
            None => &self.process.get().callbacks,
            Some(mailbox) => &mailbox.callbacks,
        });
        let mistake = Arc::new(OnceLock::<EncodeError>::new());
        let told = Arc::clone(&mistake);
        let (peer, limit) = (Arc::clone(&self.peer), self.limit);
        let waiter = Waiter::new(move |end| match end {
            // Found before the call is under way, by this thread.
            Ended::Invalid(error) => drop(told.set(error)),
            end => callbacks.post(Callback::Ended {
                callable: settle,
                end,
                peer,
                limit,
            }),
        });
        let cancel = self.carrier.start(outbound, waiter);
        match mistake.get() {
            Some(&error) => Err(error.into()),
            None => Ok(Delivery::new(cancel, None, self)),
        }
    }
}

/// Waits for and cancels a call under way.
#[pyclass(frozen, module = "callmethod._core")]
pub(super) struct Delivery {
    cancel: Cancel,
    end: Mutex<Option<Receiver<Ended>>>,
    peer: Arc<str>,
    limit: usize,
}

impl Delivery {
    fn new(cancel: Cancel, end: Option<Receiver<Ended>>, caller: &Caller) -> Self {
        Self {
            cancel,
            end: Mutex::new(end),
            peer: Arc::clone(&caller.peer),
            limit: caller.limit,
        }
    }

    /// For something that a channel does which is no call.
    pub(super) fn of_channel(under_way: UnderWay, end: Receiver<Ended>, caller: &Caller) -> Self {
        Self::new(Cancel::Channel(under_way), Some(end), caller)
    }
}

#[pymethods]
impl Delivery {
    /// Waits for the end: failure, response and what came beside either. Ctrl-C cancels.
    fn wait<'py>(&self, py: Python<'py>) -> PyResult<Received<'py>> {
        let end = self
            .end
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(end) = end else {
            return Ok((None, None, None));
        };
        let end = wait(py, end).inspect_err(|_| self.cancel())?;
        answer::received(py, end, &self.peer, self.limit)
    }

    /// Ends the call as CANCELLED unless it has ended.
    fn cancel(&self) {
        match &self.cancel {
            Cancel::Channel(under_way) => under_way.cancel(),
            Cancel::Link(link, Some(number)) => link.cancel(*number),
            Cancel::Link(_, None) => {}
        }
    }
}

/// Seconds that may be none at all.
pub(super) fn limit(timeout: Option<f64>) -> PyResult<Option<Duration>> {
    timeout.map(seconds).transpose()
}
