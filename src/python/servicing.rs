//! What all sessions of one server or channel share.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::call::{Level, Registry};
use crate::metrics::Counters;
use crate::net::terms::Offer as Offered;
use crate::python::binding::Binding;
use crate::python::cork::Cork;
use crate::python::enter;
use crate::python::errors::Described;
use crate::python::process::Process;
use crate::python::waiting::Waiting;

/// Where a service of a connection comes from.
#[derive(Debug)]
enum Offer {
    /// The same for all connections.
    Shared(Py<Binding>),
    /// Called with the connection's channel; gives a `Binding`.
    Factory(Py<PyAny>),
}

/// All that is served: bindings and factories of them, and which one wires without service names
/// mean.
#[derive(FromPyObject)]
pub(super) struct Offers {
    #[pyo3(item)]
    services: Vec<Py<PyAny>>,
    #[pyo3(item)]
    nameless: Option<String>,
}

/// Where coroutines run.
#[derive(FromPyObject)]
pub(super) struct Runner {
    waiting: Py<Waiting>,
    call_soon: Py<PyAny>,
}

/// What is served to one connection.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) bindings: Vec<Py<Binding>>,
    pub(super) registry: Arc<Registry>,
}

/// What all sessions of one server or channel share.
#[derive(Debug)]
pub(super) struct Servicing {
    pub(super) process: Py<Process>,
    pub(super) counters: Arc<Counters>,
    /// None when the server or channel has ended: a service that keeps its own channel must not
    /// be kept by it for ever.
    offers: Mutex<Option<Vec<Offer>>>,
    /// Full name of the service that wires without service names mean; needed when there are
    /// several.
    nameless: Option<String>,
    /// The `contextvars.Context` of which each handler gets a copy.
    pub(super) context: Py<PyAny>,
    /// Coroutines on their way to an event loop.
    pub(super) waiting: Py<Waiting>,
    /// Called with what is to be called at the end of the turn of that loop.
    pub(super) call_soon: Py<PyAny>,
    /// What coroutines say in one turn of it leaves in one write.
    pub(super) cork: Py<Cork>,
    /// Called with `(channel, credential, metadata)`; raises or gives a falsehood for callers not
    /// believed.
    pub(super) authenticate: Option<Py<PyAny>>,
    /// Whether callers learn what a handler raised.
    pub(super) expose_errors: bool,
    /// How long a call may wait for a worker.
    pub(super) queue_time: Duration,
    /// Methods whose first discarded response was written down.
    discards_logged: Mutex<HashSet<String>>,
}

impl Servicing {
    /// A servicing of `offers` with what holds unless it is changed.
    pub(super) fn new(
        py: Python<'_>,
        process: Py<Process>,
        counters: Arc<Counters>,
        offers: Offers,
        context: Py<PyAny>,
        runner: Runner,
    ) -> PyResult<Self> {
        let Offers { services, nameless } = offers;
        let offer = |service: Py<PyAny>| match service.cast_bound::<Binding>(py) {
            Ok(binding) => Offer::Shared(binding.clone().unbind()),
            Err(_) => Offer::Factory(service),
        };
        let cork = Py::new(py, Cork::new(Arc::clone(&process.get().driver)))?;
        let Runner { waiting, call_soon } = runner;
        Ok(Self {
            process,
            counters,
            offers: Mutex::new(Some(services.into_iter().map(offer).collect())),
            nameless,
            context,
            waiting,
            call_soon,
            cork,
            authenticate: None,
            expose_errors: true,
            queue_time: Duration::MAX,
            discards_logged: Mutex::default(),
        })
    }

    fn offers(&self, py: Python<'_>) -> Option<Vec<Offer>> {
        let offers = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
        let copied = |offer: &Offer| match offer {
            Offer::Shared(binding) => Offer::Shared(binding.clone_ref(py)),
            Offer::Factory(factory) => Offer::Factory(factory.clone_ref(py)),
        };
        offers
            .as_ref()
            .map(|offers| offers.iter().map(copied).collect())
    }

    /// What connections are served, as far as that is the same for all.
    pub(super) fn offered(&self, py: Python<'_>) -> PyResult<Offered> {
        let mut bindings = Vec::new();
        for offer in self.offers(py).unwrap_or_default() {
            match offer {
                Offer::Shared(binding) => bindings.push(binding),
                Offer::Factory(_) => return Ok(Offered::BySession),
            }
        }
        Ok(Offered::Services(self.registry(&bindings)?))
    }

    /// The services of a new connection, whose way back is `channel`.
    pub(super) fn serve(&self, py: Python<'_>, channel: &Bound<'_, PyAny>) -> PyResult<Served> {
        let gone = || PyRuntimeError::new_err("nothing is served any more");
        let mut bindings = Vec::new();
        for offer in self.offers(py).ok_or_else(gone)? {
            bindings.push(match offer {
                Offer::Shared(binding) => binding,
                Offer::Factory(factory) => {
                    let made = enter::call(factory.bind(py), (channel,))?;
                    made.cast_into::<Binding>().map_err(PyErr::from)?.unbind()
                }
            });
        }
        let registry = self.registry(&bindings)?;
        Ok(Served { bindings, registry })
    }

    fn registry(&self, bindings: &[Py<Binding>]) -> PyResult<Arc<Registry>> {
        let schemas: Vec<_> = bindings
            .iter()
            .map(|binding| Arc::clone(&binding.get().schema))
            .collect();
        let wanted = |name: &String| {
            schemas
                .iter()
                .position(|schema| schema.methods().service() == name)
        };
        let nameless = match &self.nameless {
            Some(name) => wanted(name),
            None if schemas.len() == 1 => Some(0),
            None => None,
        };
        let registry = Registry::new(schemas, nameless);
        Ok(Arc::new(registry.map_err(|error| {
            PyValueError::new_err(error.to_string())
        })?))
    }

    /// Offers nothing any more.
    pub(super) fn release(&self) {
        let mut offers = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
        let released = offers.take();
        drop(offers);
        // Outside the lock: the service's own finalizer may run.
        drop(released);
    }

    /// A response came for which the wire has no way.
    pub(super) fn discard_response(&self, method: &str) {
        Counters::count(&self.counters.responses_discarded);
        let mut logged = self
            .discards_logged
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if logged.contains(method) {
            return;
        }
        logged.insert(method.to_owned());
        drop(logged);
        let text = format!(
            "response discarded method={method}: this wire carries no answers; call back through \
             controller.rpc_channel (said once a method)"
        );
        self.log(Level::Warning, text);
    }

    /// Writes a line into the journal.
    pub(super) fn log(&self, level: Level, text: String) {
        self.process.get().journal.write(level, text);
    }

    /// Logs what a user's code raised for a connection that ends no call.
    pub(super) fn hook_failed(&self, py: Python<'_>, what: &str, peer: &str, error: PyErr) {
        let text = Described::of(py, &error).status.text;
        let failure = format!("{what} failed peer={peer} text={text:?}");
        let attached = Box::new(error.into_value(py).into_any());
        let journal = &self.process.get().journal;
        journal.attach(Level::Error, failure, Some(attached));
    }
}
