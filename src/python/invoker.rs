//! The invoker: the step that runs the user's methods.
//!
//! It runs on a worker, in its turn at a connection's lane, so that nothing here needs a lock
//! against a second call of the same connection.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use pyo3::exceptions::PyPermissionError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::call::{
    Call, CloseKind, CloseReason, Event, Link as Peer, Registry, RejectReason, Session, Turn,
};
use crate::python::binding::Binding;
use crate::python::coroutine::Ends;
use crate::python::endpoint::Endpoint;
use crate::python::errors::Described;
use crate::python::handling::is_awaitable;
use crate::python::link::Link;
use crate::python::servicing::{Served, Servicing};
use crate::python::{answer, enter, imports};
use crate::status::{Code, Status};
use crate::wire::baidu_std::errno;

/// The way back of a connection, what it is served, and the tables of that.
type Made = (Py<PyAny>, Vec<Py<Endpoint>>, Arc<Registry>);

/// What one connection is served.
struct Open {
    link: Arc<dyn Peer>,
    channel: Py<PyAny>,
    /// Services, in the order of the registry.
    endpoints: Vec<Py<Endpoint>>,
    /// Why this session ended the connection; what still waits of it is not run.
    refused: Option<CloseReason>,
}

/// Runs what comes by one connection of a server, or by those of a channel: one after the other,
/// and while one ends, the next one may have begun.
pub(super) struct Invoker {
    pub(super) servicing: Arc<Servicing>,
    open: Mutex<Vec<Open>>,
}

impl fmt::Debug for Invoker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invoker").finish_non_exhaustive()
    }
}

impl Session for Invoker {
    fn handle(&self, link: &Arc<dyn Peer>, event: Event, turn: &mut Turn<'_>) {
        match event {
            Event::Opened => Python::attach(|py| self.opened(py, link, turn)),
            Event::Credential(credential, metadata) => {
                Python::attach(|py| self.judge(py, link, &credential, &metadata));
            }
            Event::Call(call) => {
                let asked = call.ticket.deadline().is_some() || link.traits().failures;
                // The clock is read where somebody counts on it.
                let now = asked.then(Instant::now);
                if !self.is_over(&call, now) {
                    Python::attach(|py| self.call(py, link, call, now, turn));
                }
            }
            Event::Closed(reason) => Python::attach(|py| self.closed(py, link, reason, turn)),
        }
    }
}

impl Invoker {
    pub(super) fn new(servicing: Arc<Servicing>) -> Self {
        Self {
            servicing,
            open: Mutex::default(),
        }
    }

    fn open(&self) -> MutexGuard<'_, Vec<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_open<T>(&self, link: &Arc<dyn Peer>, work: impl FnOnce(&mut Open) -> T) -> Option<T> {
        let mut open = self.open();
        let found = open.iter_mut().find(|open| Arc::ptr_eq(&open.link, link));
        found.map(work)
    }

    /// The service at that place as a connection is served it; none when that is being ended.
    pub(super) fn endpoint(
        &self,
        py: Python<'_>,
        link: &Arc<dyn Peer>,
        service: usize,
    ) -> Option<Py<Endpoint>> {
        self.with_open(link, |open| {
            let endpoint = open.endpoints.get(service)?;
            open.refused.is_none().then(|| endpoint.clone_ref(py))
        })?
    }

    /// Whether a call need not be run any more: its caller waits no longer, or has waited here for
    /// too long.
    fn is_over(&self, call: &Call, now: Option<Instant>) -> bool {
        let ticket = &call.ticket;
        if let Some(now) = now {
            if ticket.deadline().is_some_and(|deadline| deadline <= now) {
                ticket.expire_unrun();
            }
            let most = self.servicing.queue_time;
            let refuses = ticket.link().traits().failures;
            if refuses && ticket.age(now) > most && !ticket.is_ended() {
                let text = format!("the call waited for a worker for {} s", most.as_secs_f64());
                let status = Status::new(Code::ResourceExhausted, text);
                self.servicing.counters.rejected(RejectReason::Overload);
                ticket.fail(&status.with_native(errno::ELIMIT));
            }
        }
        ticket.is_ended()
    }

    /// Ends the connection; nothing more of it is run.
    pub(super) fn refuse(&self, link: &Arc<dyn Peer>, reason: CloseReason) {
        self.with_open(link, |open| open.refused = Some(reason.clone()));
        link.abort(reason);
    }

    fn opened(&self, py: Python<'_>, link: &Arc<dyn Peer>, turn: &mut Turn<'_>) {
        match self.make_services(py, link) {
            Ok((channel, endpoints, registry)) => {
                link.serve(registry);
                let hooks: Vec<_> = hooks(py, &endpoints, |binding| &binding.on_connected);
                self.open().push(Open {
                    link: Arc::clone(link),
                    channel: channel.clone_ref(py),
                    endpoints,
                    refused: None,
                });
                for hook in hooks {
                    let args = (channel.clone_ref(py),);
                    self.run_hook(hook.bind(py), args, link, "on_connected", turn);
                }
            }
            Err(error) => {
                self.servicing
                    .hook_failed(py, "factory", link.peer(), error);
                let text = "the factory made no service for this connection";
                self.refuse(link, CloseReason::new(CloseKind::ServiceFailed, text));
            }
        }
    }

    fn make_services(&self, py: Python<'_>, link: &Arc<dyn Peer>) -> PyResult<Made> {
        let end = Link::new(py, &self.servicing.process, Arc::clone(link))?;
        let channel = enter::call(imports::peer_channel(py)?, (end,))?;
        let Served { bindings, registry } = self.servicing.serve(py, &channel)?;
        let endpoint = |binding| {
            let (servicing, channel) = (Arc::clone(&self.servicing), channel.clone().unbind());
            Py::new(
                py,
                Endpoint {
                    servicing,
                    channel,
                    binding,
                },
            )
        };
        let endpoints = bindings
            .into_iter()
            .map(endpoint)
            .collect::<PyResult<_>>()?;
        Ok((channel.unbind(), endpoints, registry))
    }

    /// Asks the user whether the peer is whom it says it is.
    fn judge(
        &self,
        py: Python<'_>,
        link: &Arc<dyn Peer>,
        credential: &[u8],
        metadata: &[(String, String)],
    ) {
        let Some(hook) = &self.servicing.authenticate else {
            return link.judge(Ok(()));
        };
        let Some(channel) = self.with_open(link, |open| open.channel.clone_ref(py)) else {
            let text = "the connection is being ended";
            return link.judge(Err(Status::new(Code::Unauthenticated, text)));
        };
        let verdict = answer::dict(py, metadata)
            .and_then(|metadata| {
                let args = (channel, PyBytes::new(py, credential), metadata);
                enter::call(hook.bind(py), args)
            })
            .and_then(|verdict| verdict.is_truthy());
        link.judge(match verdict {
            Ok(true) => Ok(()),
            Ok(false) => {
                let text = "authentication failed";
                Err(Status::new(Code::Unauthenticated, text))
            }
            Err(error) => {
                let described = Described::of(py, &error);
                let told = if described.is_answer {
                    format!("authentication failed: {}", described.status.text)
                } else {
                    "authentication failed".to_owned()
                };
                if !described.is_answer && !error.is_instance_of::<PyPermissionError>(py) {
                    self.servicing
                        .hook_failed(py, "authenticate", link.peer(), error);
                }
                Err(Status::new(Code::Unauthenticated, told))
            }
        });
    }

    fn closed(
        &self,
        py: Python<'_>,
        link: &Arc<dyn Peer>,
        reason: CloseReason,
        turn: &mut Turn<'_>,
    ) {
        let open = {
            let mut all = self.open();
            let place = all.iter().position(|open| Arc::ptr_eq(&open.link, link));
            place.map(|place| all.swap_remove(place))
        };
        let refused = open.as_ref().and_then(|open| open.refused.clone());
        // What this session refused may have reached the connection when it had ended already.
        let reason = refused.unwrap_or(reason);
        // All that came in was run: nothing more will be said.
        link.finish(reason.clone());
        let Some(Open {
            channel, endpoints, ..
        }) = open
        else {
            return;
        };
        for hook in hooks(py, &endpoints, |binding| &binding.on_disconnected) {
            let told = imports::disconnect(py)
                .and_then(|class| enter::call(class, (reason.kind.label(), &reason.text)));
            let what = "on_disconnected";
            match told {
                Ok(told) => {
                    let args = (channel.clone_ref(py), told);
                    self.run_hook(hook.bind(py), args, link, what, turn);
                }
                Err(error) => self.servicing.hook_failed(py, what, link.peer(), error),
            }
        }
    }

    /// Calls `on_connected` or `on_disconnected`, which may be a coroutine function.
    fn run_hook<'py, A>(
        &self,
        hook: &Bound<'py, PyAny>,
        args: A,
        link: &Arc<dyn Peer>,
        what: &'static str,
        turn: &mut Turn<'_>,
    ) where
        A: IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error: Into<PyErr>>,
    {
        let py = hook.py();
        let ran = enter::call(hook, args).and_then(|result| {
            if is_awaitable(&result)? {
                let ends = (Ends::Hook(what, Arc::clone(link)), None);
                self.submit(py, &result, self.context(py)?, ends, turn)?;
            }
            Ok(())
        });
        if let Err(error) = ran {
            self.servicing.hook_failed(py, what, link.peer(), error);
        }
    }
}

/// The hooks of one kind that services have.
fn hooks(
    py: Python<'_>,
    endpoints: &[Py<Endpoint>],
    hook: impl Fn(&Binding) -> &Option<Py<PyAny>>,
) -> Vec<Py<PyAny>> {
    let binding = |endpoint: &Py<Endpoint>| endpoint.get().binding.clone_ref(py);
    let hook = |binding: Py<Binding>| hook(binding.get()).as_ref().map(|hook| hook.clone_ref(py));
    endpoints.iter().map(binding).filter_map(hook).collect()
}
