//! What all sessions of one server or channel share.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;

use crate::call::Level;
use crate::metrics::Counters;
use crate::python::binding::Binding;
use crate::python::process::Process;

/// Where the service of a connection comes from.
#[derive(Debug)]
pub(super) enum Offer {
    /// The same for all connections.
    Shared(Py<Binding>),
    /// Called with the connection's channel; gives a `Binding`.
    Factory(Py<PyAny>),
}

/// What all sessions of one server or channel share.
#[derive(Debug)]
pub(super) struct Servicing {
    pub(super) process: Py<Process>,
    pub(super) counters: Arc<Counters>,
    /// None when the server or channel has ended: a service that keeps its own channel must not
    /// be kept by it for ever.
    pub(super) offer: Mutex<Option<Offer>>,
    pub(super) close_on_bad_body: bool,
    /// The `contextvars.Context` of which each handler gets a copy.
    pub(super) context: Py<PyAny>,
    /// Called with `(coroutine, context, finish)`; has the coroutine run on an event loop.
    pub(super) submit: Py<PyAny>,
    /// Methods whose first discarded response was written down.
    pub(super) discards_logged: Mutex<HashSet<String>>,
}

impl Servicing {
    /// What new connections get.
    pub(super) fn offer(&self, py: Python<'_>) -> Option<Offer> {
        let offer = self.offer.lock().unwrap_or_else(PoisonError::into_inner);
        offer.as_ref().map(|offer| match offer {
            Offer::Shared(binding) => Offer::Shared(binding.clone_ref(py)),
            Offer::Factory(factory) => Offer::Factory(factory.clone_ref(py)),
        })
    }

    /// Offers nothing any more.
    pub(super) fn release(&self) {
        let mut offer = self.offer.lock().unwrap_or_else(PoisonError::into_inner);
        let released = offer.take();
        drop(offer);
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
}
