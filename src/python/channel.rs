//! The channel behind `callmethod.Channel`.

use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::call::{Event, Lane, Link, Processor, Session, Turn};
use crate::metrics::Counters;
use crate::net::client::{Channel as Calling, Delivery as UnderWay};
use crate::net::connection::{Offer as Offered, Terms};
use crate::python::binding::Binding;
use crate::python::callbacks::Callback;
use crate::python::invoker::Invoker;
use crate::python::options::{self, Indexed, seconds};
use crate::python::process::Process;
use crate::python::servicing::{Offer, Servicing};
use crate::python::wait::wait;
use crate::python::workers::Workers;
use crate::python::{enter, errors, stats};
use crate::status::Status;
use crate::wire::Codec as _;
use crate::wire::indexed::IndexedCodec;

/// The session of a channel that serves nothing: its lane never has an event.
#[derive(Debug)]
struct Deaf;

impl Session for Deaf {
    fn handle(&self, _: &Arc<dyn Link>, _: Event, _: &mut Turn<'_>) {}
}

/// One channel, connected when needed.
#[pyclass(frozen, module = "callmethod._core")]
pub(super) struct Channel {
    process: Py<Process>,
    calling: Arc<Calling>,
    counters: Arc<Counters>,
    servicing: Option<Arc<Servicing>>,
    codec: IndexedCodec,
    target: String,
}

/// Waits for and cancels a call under way.
#[pyclass(frozen, module = "callmethod._core")]
pub(super) struct Delivery {
    under_way: Mutex<UnderWay>,
    outcome: Mutex<Option<Receiver<Result<(), Status>>>>,
    peer: String,
}

impl Delivery {
    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Delivery {
    /// Waits for the end; raises `RpcError` when that is a failure. Ctrl-C cancels.
    fn wait(&self, py: Python<'_>) -> PyResult<()> {
        let outcome = self
            .outcome
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(outcome) = outcome else {
            return Ok(());
        };
        let ended = wait(py, outcome).inspect_err(|_| self.under_way().cancel())?;
        ended.map_err(|status| errors::raised(py, &status, Some(&self.peer)))
    }

    /// Ends the call as CANCELLED unless it has ended.
    fn cancel(&self) {
        self.under_way().cancel();
    }
}

impl Channel {
    fn begin(
        &self,
        start: impl FnOnce(Box<dyn FnOnce(Result<(), Status>) + Send>) -> UnderWay,
    ) -> Delivery {
        let (sender, receiver) = sync_channel(1);
        let under_way = start(Box::new(move |outcome| {
            // Nobody waits any more when this fails.
            let _ = sender.send(outcome);
        }));
        Delivery {
            under_way: Mutex::new(under_way),
            outcome: Mutex::new(Some(receiver)),
            peer: self.target.clone(),
        }
    }
}

fn limit(timeout: Option<f64>) -> PyResult<Option<Duration>> {
    timeout.map(seconds).transpose()
}

#[pymethods]
impl Channel {
    /// A channel to `target`. Without `binding` it serves no calls of the peer's.
    #[new]
    #[pyo3(signature = (process, workers, target, protocol, options, *, binding, context, submit))]
    #[expect(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        process: Py<Process>,
        workers: Option<Py<Workers>>,
        target: &str,
        protocol: &Bound<'_, PyAny>,
        options: &Bound<'_, PyAny>,
        binding: Option<Py<Binding>>,
        context: Py<PyAny>,
        submit: Py<PyAny>,
    ) -> PyResult<Self> {
        let indexed = Indexed::one_way(protocol)?;
        let serves = binding.is_some();
        let options = options::channel(options, serves)?;
        let counters = Arc::<Counters>::default();
        let codec = IndexedCodec::new(indexed.layout);
        let offer = binding.as_ref().map_or(Offered::Nothing, |binding| {
            Offered::Service(Arc::clone(&binding.get().schema))
        });
        let servicing = binding.map(|binding| {
            Arc::new(Servicing {
                process: process.clone_ref(py),
                counters: Arc::clone(&counters),
                offer: Mutex::new(Some(Offer::Shared(binding))),
                close_on_bad_body: indexed.close_on_bad_body,
                context,
                submit,
                discards_logged: Mutex::default(),
            })
        });
        let session: Arc<dyn Session> = match &servicing {
            None => Arc::new(Deaf),
            Some(servicing) => Arc::new(Invoker::new(Arc::clone(servicing))),
        };
        let terms = Arc::new(Terms {
            codec: Arc::new(codec),
            coalesce: indexed.coalesce,
            offer,
            counters: Arc::clone(&counters),
            journal: Arc::clone(&process.get().journal),
        });
        let processor = workers.map_or_else(Arc::<Processor>::default, |workers| {
            Arc::clone(&workers.get().processor)
        });
        let lane = Lane::new(session, processor);
        let runtime = process.get().handle().clone();
        let calling = Calling::new(runtime, target.parse()?, options, terms, lane);
        Ok(Self {
            process,
            calling,
            counters,
            servicing,
            codec,
            target: target.to_owned(),
        })
    }

    /// Calls at once if that takes no waiting, and says whether it did. Raises `RpcError`, and
    /// `ValueError` for a call that cannot be sent at all, connected or not.
    fn call_now(&self, py: Python<'_>, index: u32, body: &[u8]) -> PyResult<bool> {
        enter::gate(py);
        self.codec.call_head(index, None, body.len())?;
        match self.calling.call_now(index, body) {
            None => Ok(false),
            Some(Ok(())) => Ok(true),
            Some(Err(status)) => Err(errors::failed(py, &status, &self.target)),
        }
    }

    /// Starts a call that somebody will wait for.
    #[pyo3(signature = (index, body, timeout))]
    fn call(&self, index: u32, body: &[u8], timeout: Option<f64>) -> PyResult<Delivery> {
        let (body, limit) = (Bytes::copy_from_slice(body), limit(timeout)?);
        Ok(self.begin(|then| self.calling.call_then(index, body, limit, then)))
    }

    /// Starts a call whose end `settle` is told, on the callbacks' thread: None or an `RpcError`.
    #[pyo3(signature = (index, body, timeout, settle))]
    fn call_then(
        &self,
        index: u32,
        body: &[u8],
        timeout: Option<f64>,
        settle: Py<PyAny>,
    ) -> PyResult<Delivery> {
        let (body, limit) = (Bytes::copy_from_slice(body), limit(timeout)?);
        let callbacks = Arc::clone(&self.process.get().callbacks);
        let peer = self.target.clone();
        let then = move |outcome| {
            callbacks.post(Callback::Ended {
                callable: settle,
                outcome,
                peer,
            });
        };
        let under_way = self.calling.call_then(index, body, limit, then);
        Ok(Delivery {
            under_way: Mutex::new(under_way),
            outcome: Mutex::new(None),
            peer: self.target.clone(),
        })
    }

    /// Starts to connect.
    #[pyo3(signature = (timeout))]
    fn connect(&self, timeout: Option<f64>) -> PyResult<Delivery> {
        let limit = limit(timeout)?;
        Ok(self.begin(|then| self.calling.connect_then(limit, then)))
    }

    /// Whether there is a connection that takes calls.
    #[getter]
    fn connected(&self) -> bool {
        self.calling.is_connected()
    }

    /// Starts to close: what waits is written for as long as `grace` seconds.
    fn close(&self, grace: f64) -> PyResult<Delivery> {
        let (calling, grace) = (Arc::clone(&self.calling), seconds(grace)?);
        let (sender, receiver) = sync_channel(1);
        self.process.get().handle().spawn(async move {
            calling.close(grace).await;
            // Nobody waits any more when this fails.
            let _ = sender.send(Ok(()));
        });
        Ok(Delivery {
            under_way: Mutex::default(),
            outcome: Mutex::new(Some(receiver)),
            peer: self.target.clone(),
        })
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
