//! The channel behind `callmethod.Channel`.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::call::{Answer, Ended, Event, Link, Processor, Session, Turn, Waiter};
use crate::metrics::Counters;
use crate::net::Unfinished;
use crate::net::client::{Channel as Calling, Delivery as UnderWay, Serving, Target};
use crate::net::terms::{Role, Terms};
use crate::net::tls::TlsConnector;
use crate::python::callbacks::Callback;
use crate::python::invoker::Invoker;
use crate::python::options::{self, Protocol, seconds};
use crate::python::outgoing::{Caller, Carrier, Delivery, limit};
use crate::python::process::Process;
use crate::python::server::Server;
use crate::python::servicing::{Offers, Runner, Servicing};
use crate::python::wait::{Sender, channel};
use crate::python::workers::Workers;
use crate::python::{stats, tls};
use crate::wire::Answers;

/// The session of a channel that serves nothing: it never has an event.
#[derive(Debug)]
struct Deaf;

impl Session for Deaf {
    fn handle(&self, _: &Arc<dyn Link>, _: Event, _: &mut Turn<'_>) {}
}

/// Says that a channel is closed: at the latest when the I/O thread ends, which closes all of them.
struct SayClosed(Option<Sender<Ended>>);

impl Drop for SayClosed {
    fn drop(&mut self) {
        if let Some(sender) = self.0.take() {
            sender.send(Ended::Answered(Answer::default()));
        }
    }
}

/// Where a channel leads.
#[derive(FromPyObject)]
pub(super) enum To<'py> {
    /// `host:port` and the like.
    Address(String),
    /// A server of this process.
    Server(Bound<'py, Server>),
}

/// One channel, connected when needed.
#[pyclass(frozen, module = "callmethod._core")]
pub(super) struct Channel {
    process: Py<Process>,
    calling: Arc<Calling>,
    caller: Py<Caller>,
    terms: Arc<Terms>,
    counters: Arc<Counters>,
    servicing: Option<Arc<Servicing>>,
    tls: Option<Arc<TlsConnector>>,
}

#[pymethods]
impl Channel {
    /// A channel to `target`. Without `offers` it serves no calls of the peer's.
    #[new]
    #[pyo3(signature = (process, workers, target, protocol, options, *, offers, context, runner, tls=None))]
    #[expect(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        process: Py<Process>,
        workers: Option<Py<Workers>>,
        target: To<'_>,
        protocol: &Bound<'_, PyAny>,
        options: &Bound<'_, PyAny>,
        offers: Option<Offers>,
        context: Py<PyAny>,
        runner: Runner,
        tls: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let Protocol {
            codec,
            coalesce,
            close_on_bad_body,
        } = Protocol::read(protocol)?;
        let serves = offers.is_some();
        let counters = Arc::<Counters>::default();
        let servicing = match offers {
            None => None,
            Some(offers) => {
                let (process, counters) = (process.clone_ref(py), Arc::clone(&counters));
                let servicing = Servicing::new(py, process, counters, offers, context, runner)?;
                Some(Arc::new(servicing))
            }
        };
        let session: Arc<dyn Session> = match &servicing {
            None => Arc::new(Deaf),
            Some(servicing) => Arc::new(Invoker::new(Arc::clone(servicing))),
        };
        let offer = match &servicing {
            None => crate::net::terms::Offer::Nothing,
            Some(servicing) => servicing.offered(py)?,
        };
        let (target, peer) = match target {
            To::Address(text) => {
                let address = text.parse()?;
                let target = match tls {
                    None => Target::Address(address),
                    Some(options) => {
                        let connector = TlsConnector::new(&tls::client(options)?, &address)?;
                        Target::Secure(address, connector)
                    }
                };
                (target, text)
            }
            To::Server(local) => {
                let target = Target::Local(Arc::downgrade(local.get().serving()));
                let text = target.to_string();
                (target, text)
            }
        };
        let secured = match &target {
            Target::Secure(_, connector) => Some(Arc::clone(connector)),
            Target::Address(_) | Target::Local(_) | Target::Other(_) => None,
        };
        let terms = Arc::new(Terms {
            codec,
            coalesce,
            close_on_bad_body,
            role: Role::Caller {
                credential: Mutex::new(options::credential(options)?),
            },
            offer,
            timeouts: options::timeouts(options)?,
            // One alone may be as long as its protocol allows, and that is what bounds these.
            unfinished: Arc::new(Unfinished::of(usize::MAX)),
            counters: Arc::clone(&counters),
            driver: Arc::clone(&process.get().driver),
            journal: Arc::clone(&process.get().journal),
        });
        let processor = workers.map_or_else(Arc::<Processor>::default, |workers| {
            Arc::clone(workers.get().crew.processor())
        });
        let serving = Serving { session, processor };
        let runtime = process.get().handle().clone();
        let options = options::channel(options, serves)?;
        let shared = Arc::clone(&terms);
        let calling = Arc::new(Calling::new(runtime, target, options, shared, serving));
        let caller = Caller {
            process: process.clone_ref(py),
            carrier: Carrier::Channel(Arc::clone(&calling)),
            answers: terms.codec.traits().answers != Answers::Never,
            peer: peer.into(),
            limit: usize::try_from(terms.codec.limit()).unwrap_or(usize::MAX),
        };
        let caller = Py::new(py, caller)?;
        Ok(Self {
            process,
            calling,
            caller,
            terms,
            counters,
            servicing,
            tls: secured,
        })
    }

    /// What calls.
    #[getter]
    fn caller(&self, py: Python<'_>) -> Py<Caller> {
        self.caller.clone_ref(py)
    }

    /// Has connections made from now on secured as `callmethod.ClientTls` says.
    fn reload_tls(&self, options: &Bound<'_, PyAny>) -> PyResult<()> {
        let settings = tls::client(options)?;
        let spoken = self.tls.as_ref();
        let spoken = spoken.ok_or_else(|| PyRuntimeError::new_err("the channel speaks no TLS"))?;
        Ok(spoken.reload(&settings)?)
    }

    /// Starts to connect.
    #[pyo3(signature = (timeout))]
    fn connect(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Delivery> {
        let limit = limit(timeout)?;
        Ok(self.begin(py, |waiter| self.calling.connect(limit, waiter)))
    }

    /// Whether there is a connection that takes calls.
    #[getter]
    fn connected(&self) -> bool {
        self.calling.is_connected()
    }

    /// Says who calls, on connections made from now on.
    fn set_credential(&self, credential: &[u8]) {
        if let Role::Caller { credential: held } = &self.terms.role {
            let mut held = held
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            *held = Bytes::copy_from_slice(credential);
        }
    }

    /// Starts to close: what waits is written, what was called is answered, for as long as `grace`
    /// seconds. `then()` is called on the callbacks' thread when that is done, unless the I/O
    /// thread ends first.
    #[pyo3(signature = (grace, then=None))]
    fn close(&self, py: Python<'_>, grace: f64, then: Option<Py<PyAny>>) -> PyResult<Delivery> {
        let (calling, grace) = (Arc::clone(&self.calling), seconds(grace)?);
        let process = self.process.get();
        let callbacks = Arc::clone(&process.callbacks);
        let (sender, receiver) = channel();
        let closed = SayClosed(Some(sender));
        process.handle().spawn(async move {
            calling.close(grace).await;
            drop(closed);
            if let Some(then) = then {
                callbacks.post(Callback::Plain(then));
            }
        });
        let under_way = UnderWay::ended();
        Ok(Delivery::of_channel(
            under_way,
            receiver,
            self.caller.get().shared(py),
        ))
    }

    /// Lets go of the service: the channel was closed.
    fn release(&self) {
        if let Some(servicing) = &self.servicing {
            servicing.release();
        }
    }

    /// All counters, as a dict.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        stats::dict(
            py,
            &self.counters,
            self.calling.queued_calls(),
            &self.process.get().journal,
        )
    }
}

impl Channel {
    fn begin(&self, py: Python<'_>, start: impl FnOnce(Waiter) -> UnderWay) -> Delivery {
        let (sender, receiver) = channel();
        let under_way = start(Waiter::new(move |end| sender.send(end)));
        Delivery::of_channel(under_way, receiver, self.caller.get().shared(py))
    }
}
