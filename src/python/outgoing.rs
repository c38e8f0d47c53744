//! Calls that go out, whatever carries them and whoever waits: three faces over one path.

use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::call::{Ended, Link, Outbound, Waiter};
use crate::net::client::{Channel, Delivery as UnderWay};
use crate::net::holding_back;
use crate::python::answer::{self, CallExtras, Received};
use crate::python::callbacks::Callback;
use crate::python::mailbox::Mailbox;
use crate::python::method::Method;
use crate::python::options::seconds;
use crate::python::plain::Reply;
use crate::python::process::Process;
use crate::python::wait::{Receiver, channel, wait};
use crate::python::{enter, imports};
use crate::wire::compress::Compression;
use crate::wire::{EncodeError, Extras, Payload};

thread_local! {
    /// Why the call that this thread makes cannot be sent.
    static MISTAKE: Cell<Option<EncodeError>> = const { Cell::new(None) };
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

impl Cancel {
    fn cancel(&self) {
        match self {
            Self::Channel(under_way) => under_way.cancel(),
            Self::Link(link, Some(number)) => link.cancel(*number),
            Self::Link(_, None) => {}
        }
    }
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
    /// Whether the wire has answers.
    pub(super) answers: bool,
    /// Whom the calls are to.
    pub(super) peer: Arc<str>,
    /// Most bytes of a response, once inflated.
    pub(super) limit: usize,
}

/// What a call under way needs of its caller.
pub(super) struct Shared {
    process: Py<Process>,
    peer: Arc<str>,
    limit: usize,
}

impl Caller {
    pub(super) fn shared(&self, py: Python<'_>) -> Shared {
        Shared {
            process: self.process.clone_ref(py),
            peer: Arc::clone(&self.peer),
            limit: self.limit,
        }
    }
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
        let (sender, receiver) = channel();
        let waiter = Waiter::new(move |end| sender.send(end));
        let cancel = self.carrier.start(outbound, waiter);
        Ok(Delivery::new(cancel, Some((receiver, self.shared(py)))))
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
        let (peer, limit) = (Arc::clone(&self.peer), self.limit);
        let cancel = self.start_then(outbound, mailbox, move |end| Callback::Ended {
            callable: settle,
            end,
            peer,
            limit,
        })?;
        Ok(Delivery::new(cancel, None))
    }

    /// Makes a call without a controller and waits for the response. `RpcError` when it fails,
    /// `ValueError` when it cannot be sent.
    #[pyo3(signature = (method, request, timeout))]
    fn block<'py>(
        slf: &Bound<'py, Self>,
        method: &Bound<'py, Method>,
        request: &Bound<'py, PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        enter::gate(py);
        let outbound = this.plain(method.get(), request, timeout)?;
        let (sender, receiver) = channel();
        let waiter = Waiter::new(move |end| sender.send(end));
        let cancel = this.carrier.start(outbound, waiter);
        let driver = &this.process.get().driver;
        let end = wait(py, driver, &receiver).inspect_err(|_| cancel.cancel())?;
        Self::reply_to(slf, method)(end).response(py)
    }

    /// Makes a call without a controller, of whose response, or None, `done` is told on the
    /// callbacks' thread. It keeps `channel` until then. `ValueError` when it cannot be sent.
    #[pyo3(signature = (method, request, timeout, done, channel))]
    fn call_back(
        slf: &Bound<'_, Self>,
        method: &Bound<'_, Method>,
        request: &Bound<'_, PyAny>,
        timeout: Option<f64>,
        done: Py<PyAny>,
        channel: Py<PyAny>,
    ) -> PyResult<()> {
        enter::gate(slf.py());
        let this = slf.get();
        let outbound = this.plain(method.get(), request, timeout)?;
        let reply = Self::reply_to(slf, method);
        // `done` is not called before this returns: the thread of callbacks waits for the GIL,
        // which is held from here on. Without one, something else would have to see to that.
        this.start_then(outbound, None, move |end| Callback::Replied {
            done,
            reply: reply(end),
            channel,
        })?;
        Ok(())
    }

    /// Makes a call without a controller, of whose end `future` is told on the loop of `mailbox`.
    /// It keeps `channel` until then. `ValueError` when it cannot be sent.
    #[pyo3(signature = (method, request, timeout, future, mailbox, channel))]
    fn call_soon(
        slf: &Bound<'_, Self>,
        method: &Bound<'_, Method>,
        request: &Bound<'_, PyAny>,
        timeout: Option<f64>,
        future: Py<PyAny>,
        mailbox: &Mailbox,
        channel: Py<PyAny>,
    ) -> PyResult<Delivery> {
        enter::gate(slf.py());
        let this = slf.get();
        let outbound = this.plain(method.get(), request, timeout)?;
        let reply = Self::reply_to(slf, method);
        let cancel = this.start_then(outbound, Some(mailbox), move |end| Callback::Awaited {
            future,
            reply: reply(end),
            channel,
        })?;
        Ok(Delivery::new(cancel, None))
    }
}

impl Caller {
    /// The call that a request without a controller makes, within the deadline of the call that is
    /// being handled.
    fn plain(
        &self,
        method: &Method,
        request: &Bound<'_, PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<Outbound> {
        let py = request.py();
        let body = method.serialize(request)?;
        let now = Instant::now();
        let inherited = enter::variable(imports::deadline(py)?)?;
        let left = match inherited.filter(|ends| !ends.is_none()) {
            Some(ends) => {
                let ends: f64 = ends.extract()?;
                Some((ends - self.process.get().monotonic(now)).max(0.0))
            }
            None => None,
        };
        let timeout = match (timeout, left) {
            (Some(timeout), Some(left)) => Some(timeout.min(left)),
            (timeout, left) => timeout.or(left),
        };
        Ok(Outbound {
            method: Arc::clone(&method.name),
            body: Payload::plain(Bytes::copy_from_slice(body.as_bytes())),
            extras: Extras::NONE,
            // A deadline beyond the end of the clock is none.
            deadline: timeout
                .map(seconds)
                .transpose()?
                .and_then(|timeout| now.checked_add(timeout)),
        })
    }

    /// What makes a reply of the end of a call; any thread may.
    fn reply_to(
        slf: &Bound<'_, Self>,
        method: &Bound<'_, Method>,
    ) -> impl FnOnce(Ended) -> Reply + Send + use<> {
        let (method, caller) = (method.clone().unbind(), slf.clone().unbind());
        move |end| Reply {
            method,
            caller,
            end,
        }
    }

    /// Starts a call of whose end `told` makes what is to be called: on the callbacks' thread, or
    /// on the event loop of `mailbox`. `ValueError` for one that cannot be sent.
    fn start_then(
        &self,
        outbound: Outbound,
        mailbox: Option<&Mailbox>,
        told: impl FnOnce(Ended) -> Callback + Send + 'static,
    ) -> PyResult<Cancel> {
        let process = self.process.get();
        let callbacks = Arc::clone(match mailbox {
            None => &process.callbacks,
            Some(mailbox) => &mailbox.callbacks,
        });
        callbacks.expect(true);
        let waiter = Waiter::new(move |end| {
            callbacks.expect(false);
            match end {
                // Found before the call is under way, by this thread.
                Ended::Invalid(error) => MISTAKE.set(Some(error)),
                end => callbacks.post(told(end)),
            }
        });
        // Calls that are made in one turn of the loop leave together.
        let start = || self.carrier.start(outbound, waiter);
        let cancel = match mailbox {
            Some(_) => holding_back(start),
            None => start(),
        };
        match MISTAKE.take() {
            Some(error) => Err(error.into()),
            None => Ok(cancel),
        }
    }
}

/// Waits for and cancels a call under way.
#[pyclass(frozen, module = "callmethod._core")]
pub(super) struct Delivery {
    cancel: Cancel,
    /// What its end comes by, if somebody is to wait for that.
    end: Mutex<Option<Awaits>>,
}

type Awaits = (Receiver<Ended>, Shared);

impl Delivery {
    fn new(cancel: Cancel, end: Option<Awaits>) -> Self {
        let end = Mutex::new(end);
        Self { cancel, end }
    }

    /// For something that a channel does which is no call.
    pub(super) fn of_channel(under_way: UnderWay, end: Receiver<Ended>, shared: Shared) -> Self {
        Self::new(Cancel::Channel(under_way), Some((end, shared)))
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
        let Some((end, shared)) = end else {
            return Ok((None, None, None));
        };
        let Shared {
            process,
            peer,
            limit,
        } = shared;
        let end = wait(py, &process.get().driver, &end).inspect_err(|_| self.cancel())?;
        answer::received(py, end, &peer, limit)
    }

    /// Ends the call as CANCELLED unless it has ended.
    fn cancel(&self) {
        self.cancel.cancel();
    }
}

/// Seconds that may be none at all.
pub(super) fn limit(timeout: Option<f64>) -> PyResult<Option<Duration>> {
    timeout.map(seconds).transpose()
}
