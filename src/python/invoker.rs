//! The invoker: the step that runs the user's methods.
//!
//! It runs on a worker, in its turn at a connection's lane, so that nothing here needs a lock
//! against a second call of the same connection.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::call::{
    Call, CloseKind, CloseReason, Event, Level, Link as Peer, RejectReason, Session, Turn,
};
use crate::metrics::Outcome;
use crate::python::binding::{Binding, BoundMethod};
use crate::python::completion::{Done, Finish};
use crate::python::controller::ServerController;
use crate::python::errors::Described;
use crate::python::link::Link;
use crate::python::message::missing_fields;
use crate::python::servicing::{Offer, Servicing};
use crate::python::{enter, imports};
use crate::status::{Code, Status};

/// The service of one connection.
struct Open {
    channel: Py<PyAny>,
    binding: Py<Binding>,
}

/// One connection after the other, each with its service.
pub(super) struct Invoker {
    servicing: Arc<Servicing>,
    open: Mutex<Option<Open>>,
    /// Why this session ended the connection; what still waits of it is not run.
    refused: Mutex<Option<CloseReason>>,
}

impl fmt::Debug for Invoker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invoker").finish_non_exhaustive()
    }
}

impl Session for Invoker {
    fn handle(&self, link: &Arc<dyn Peer>, event: Event, turn: &mut Turn<'_>) {
        Python::attach(|py| match event {
            Event::Opened => self.opened(py, link, turn),
            Event::Call(call) => self.call(py, link, &call, turn),
            Event::Closed(reason) => self.closed(py, link, reason, turn),
        });
    }
}

impl Invoker {
    pub(super) fn new(servicing: Arc<Servicing>) -> Self {
        Self {
            servicing,
            open: Mutex::new(None),
            refused: Mutex::new(None),
        }
    }

    fn current(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusal(&self) -> MutexGuard<'_, Option<CloseReason>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the connection; nothing more of it is run.
    fn refuse(&self, link: &Arc<dyn Peer>, reason: CloseReason) {
        *self.refusal() = Some(reason.clone());
        link.abort(reason);
    }

    fn parts(&self, py: Python<'_>) -> Option<(Py<PyAny>, Py<Binding>)> {
        let open = self.current();
        open.as_ref()
            .map(|open| (open.channel.clone_ref(py), open.binding.clone_ref(py)))
    }

    fn opened(&self, py: Python<'_>, link: &Arc<dyn Peer>, turn: &mut Turn<'_>) {
        *self.refusal() = None;
        match self.make_service(py, link) {
            Ok(Open { channel, binding }) => {
                link.serve(Arc::clone(&binding.get().schema));
                let hook = binding
                    .get()
                    .on_connected
                    .as_ref()
                    .map(|hook| hook.clone_ref(py));
                *self.current() = Some(Open {
                    channel: channel.clone_ref(py),
                    binding,
                });
                if let Some(hook) = hook {
                    self.run_hook(hook.bind(py), (channel,), link, "on_connected", turn);
                }
            }
            Err(error) => {
                self.hook_failed(py, "factory", link, error);
                let text = "the factory made no service for this connection";
                self.refuse(link, CloseReason::new(CloseKind::ServiceFailed, text));
            }
        }
    }

    fn make_service(&self, py: Python<'_>, link: &Arc<dyn Peer>) -> PyResult<Open> {
        let end = Link {
            link: Arc::clone(link),
        };
        let channel = enter::call(imports::peer_channel(py)?, (end,))?;
        let binding = match self.servicing.offer(py) {
            None => return Err(PyRuntimeError::new_err("nothing is served any more")),
            Some(Offer::Shared(binding)) => binding,
            Some(Offer::Factory(factory)) => {
                let made = enter::call(factory.bind(py), (&channel,))?;
                made.cast_into::<Binding>().map_err(PyErr::from)?.unbind()
            }
        };
        Ok(Open {
            channel: channel.unbind(),
            binding,
        })
    }

    fn closed(
        &self,
        py: Python<'_>,
        link: &Arc<dyn Peer>,
        reason: CloseReason,
        turn: &mut Turn<'_>,
    ) {
        // What this session refused may have reached the connection when it had ended already.
        let reason = self.refusal().take().unwrap_or(reason);
        // All that came in was run: nothing more will be said.
        link.finish(reason.clone());
        let Some(Open { channel, binding }) = self.current().take() else {
            return;
        };
        let Some(hook) = &binding.get().on_disconnected else {
            return;
        };
        let told = imports::disconnect(py)
            .and_then(|class| enter::call(class, (reason.kind.label(), reason.text)));
        match told {
            Ok(told) => self.run_hook(
                hook.bind(py),
                (channel, told),
                link,
                "on_disconnected",
                turn,
            ),
            Err(error) => self.hook_failed(py, "on_disconnected", link, error),
        }
    }

    /// Calls `on_connected` or `on_disconnected`, which may be a coroutine function.
    fn run_hook<'py, A>(
        &self,
        hook: &Bound<'py, PyAny>,
        args: A,
        link: &Arc<dyn Peer>,
        what: &str,
        turn: &mut Turn<'_>,
    ) where
        A: IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error: Into<PyErr>>,
    {
        let py = hook.py();
        let ran = enter::call(hook, args).and_then(|result| {
            if is_awaitable(&result)? {
                self.submit(py, &result, self.context(py)?, None, turn)?;
            }
            Ok(())
        });
        if let Err(error) = ran {
            self.hook_failed(py, what, link, error);
        }
    }

    fn hook_failed(&self, py: Python<'_>, what: &str, link: &Arc<dyn Peer>, error: PyErr) {
        let (peer, text) = (link.peer(), Described::of(py, &error).status.text);
        let failure = format!("{what} failed peer={peer} text={text:?}");
        let attached = Box::new(error.into_value(py).into_any());
        self.servicing
            .process
            .get()
            .journal
            .attach(Level::Error, failure, Some(attached));
    }

    /// A context of its own for one handler.
    fn context<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let copy = self
            .servicing
            .context
            .bind(py)
            .getattr(pyo3::intern!(py, "copy"))?;
        enter::call(&copy, ())
    }

    /// Has a coroutine run on its event loop; the lane goes on when it has ended.
    fn submit(
        &self,
        py: Python<'_>,
        coroutine: &Bound<'_, PyAny>,
        context: Bound<'_, PyAny>,
        done: Option<Py<Done>>,
        turn: &mut Turn<'_>,
    ) -> PyResult<()> {
        let finish = Finish::new(done, turn.hold());
        let submit = self.servicing.submit.bind(py);
        let handed = enter::call(submit, (coroutine, context, finish)).map(drop);
        if handed.is_err() {
            // It never ran; without this Python would warn that nobody awaited it.
            if let Ok(close) = coroutine.getattr("close") {
                enter::call(&close, ())?;
            }
        }
        handed
    }

    fn call(&self, py: Python<'_>, link: &Arc<dyn Peer>, call: &Call, turn: &mut Turn<'_>) {
        let Some((channel, binding)) = self.parts(py) else {
            return self.not_run();
        };
        let binding = binding.get();
        let table = binding.schema.methods();
        // The number was held against this table when the frame came in.
        let (Some(method), Some(bound)) = (
            table.methods().get(call.method),
            binding.methods.get(call.method),
        ) else {
            return self.not_run();
        };
        if self.refusal().is_some() {
            return self.not_run();
        }
        let request = match parse(py, bound, &call.body) {
            Ok(request) => request,
            Err(fault) => return self.bad_body(link, &method.full_name, &fault),
        };
        let servicing = Arc::clone(&self.servicing);
        let controller = ServerController::new(
            servicing,
            Arc::clone(link),
            channel,
            method.full_name.clone(),
        );
        let Some(handler) = &bound.handler else {
            let text = format!("{} is not implemented", method.full_name);
            return controller.fail(py, &Status::new(Code::Unimplemented, text));
        };
        if let Err(error) = self.run(py, controller, bound, handler.bind(py), request, turn) {
            // Only our own objects can have failed here, for want of memory most likely.
            self.hook_failed(py, "call", link, error);
        }
    }

    /// A call that came in but will not be run, since its connection is being ended.
    fn not_run(&self) {
        self.servicing
            .counters
            .call_ended(Outcome::Failed(Code::Cancelled));
    }

    fn bad_body(&self, link: &Arc<dyn Peer>, method: &str, fault: &str) {
        let Servicing {
            counters,
            close_on_bad_body,
            ..
        } = &*self.servicing;
        counters.call_ended(Outcome::Failed(Code::InvalidArgument));
        counters.rejected(RejectReason::BadBody);
        let text = format!("bad request for {method}: {fault}");
        let peer = link.peer();
        let refused = format!("request refused peer={peer} kind=bad_body reason={text:?}");
        self.servicing.log(Level::Warning, refused);
        if *close_on_bad_body {
            let kind = CloseKind::Rejected(RejectReason::BadBody);
            self.refuse(link, CloseReason::new(kind, text));
        }
    }

    fn run(
        &self,
        py: Python<'_>,
        controller: ServerController,
        bound: &BoundMethod,
        handler: &Bound<'_, PyAny>,
        request: Bound<'_, PyAny>,
        turn: &mut Turn<'_>,
    ) -> PyResult<()> {
        let controller = Py::new(py, controller)?;
        let class = bound.response_class.clone_ref(py);
        let done = Done::new(controller.clone_ref(py), class, bound.response_has_required);
        let done = Py::new(py, done)?;
        let context = self.context(py)?;
        let run = context.getattr(pyo3::intern!(py, "run"))?;
        let args = (handler, controller, request, done.clone_ref(py));
        let settled = match enter::call(&run, args) {
            Ok(result) => {
                let settled = self.settle(&result, context, &done, turn);
                enter::release(result);
                settled
            }
            Err(error) => {
                done.get().raise(py, error);
                Ok(())
            }
        };
        enter::release(done.into_bound(py).into_any());
        settled
    }

    /// Does with a handler's result what it asks for.
    fn settle(
        &self,
        result: &Bound<'_, PyAny>,
        context: Bound<'_, PyAny>,
        done: &Py<Done>,
        turn: &mut Turn<'_>,
    ) -> PyResult<()> {
        let py = result.py();
        if result.is_none() {
            return Ok(());
        }
        if !is_awaitable(result)? {
            return done.get().conclude(py, Some(result));
        }
        if let Err(error) = self.submit(py, result, context, Some(done.clone_ref(py)), turn) {
            done.get().raise(py, error);
        }
        Ok(())
    }
}

/// The request in a body, or what is wrong with it.
fn parse<'py>(
    py: Python<'py>,
    bound: &BoundMethod,
    body: &[u8],
) -> Result<Bound<'py, PyAny>, String> {
    let told = |error: PyErr| Described::of(py, &error).status.text;
    let request = enter::call(bound.parse.bind(py), (PyBytes::new(py, body),)).map_err(told)?;
    if bound.request_has_required {
        let missing = missing_fields(&request).map_err(told)?;
        if !missing.is_empty() {
            return Err(format!("the request lacks {}", missing.join(", ")));
        }
    }
    Ok(request)
}

/// Whether a handler gave back something to await.
fn is_awaitable(result: &Bound<'_, PyAny>) -> PyResult<bool> {
    if result.is_none() {
        return Ok(false);
    }
    result
        .get_type()
        .hasattr(pyo3::intern!(result.py(), "__await__"))
}
