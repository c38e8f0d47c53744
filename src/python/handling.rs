//! How one call is run: from its bytes to the handler, and from what the handler gave to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyFloat;

use crate::call::{
    Call, CloseKind, CloseReason, Level, Link as Peer, Outcome, RejectReason, Running, RunsOn,
    Ticket, Turn,
};
use crate::python::answer;
use crate::python::binding::BoundMethod;
use crate::python::completion::Done;
use crate::python::controller::ServerController;
use crate::python::coroutine::{Coroutine, Ends};
use crate::python::errors::Described;
use crate::python::invoker::Invoker;
use crate::python::message::Fault;
use crate::python::{enter, imports, vectorcall};
use crate::status::{Code, Status};
use crate::wire::baidu_std::errno;
use crate::wire::{Answers, Payload};

/// What runs a call.
struct Run<'a, 'py> {
    handler: &'a Bound<'py, PyAny>,
    /// It gives something to be awaited, as was seen.
    awaits: &'a AtomicBool,
    running: Running<'a>,
}

impl Invoker {
    /// A context of its own for what is run once.
    pub(super) fn context<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        enter::call_method(self.servicing.context.bind(py), intern!(py, "copy"), &[])
    }

    /// Has a coroutine run on its event loop; the lane goes on when it has ended.
    pub(super) fn submit(
        &self,
        py: Python<'_>,
        coroutine: &Bound<'_, PyAny>,
        context: Bound<'_, PyAny>,
        (ends, running): (Ends, Option<RunsOn>),
        turn: &mut Turn<'_>,
    ) -> PyResult<()> {
        let awaitable = coroutine.clone().unbind();
        let turn = (turn.hold(), running);
        let (servicing, context) = (Arc::clone(&self.servicing), context.unbind());
        let runs = Coroutine::new(servicing, awaitable, context, ends, turn);
        let handed = self.servicing.waiting.get().submit(py, &Py::new(py, runs)?);
        if handed.is_err() {
            // It never ran; without this Python would warn that nobody awaited it.
            if let Ok(close) = coroutine.getattr("close") {
                enter::call(&close, ())?;
            }
        }
        handed
    }

    pub(super) fn call(
        &self,
        py: Python<'_>,
        link: &Arc<dyn Peer>,
        call: Call,
        now: Option<Instant>,
        turn: &mut Turn<'_>,
    ) {
        let Call {
            place,
            body,
            extras,
            ticket,
        } = call;
        let Some(endpoint) = self.endpoint(py, link, place.service) else {
            let text = "the connection is being ended";
            ticket.fail(&Status::new(Code::Cancelled, text));
            return;
        };
        let controller = ServerController::new(endpoint, place.method, ticket, extras);
        let ran = Bound::new(py, controller).and_then(|controller| {
            let ran = self.call_method(&controller, link, body, now, turn);
            enter::release(controller.into_any());
            ran
        });
        if let Err(error) = ran {
            // Only our own objects can have failed here, for want of memory most likely.
            self.servicing.hook_failed(py, "call", link.peer(), error);
        }
    }

    /// Parses the request and runs the method. `now` is known where somebody counts on it.
    fn call_method(
        &self,
        controller: &Bound<'_, ServerController>,
        link: &Arc<dyn Peer>,
        body: Payload,
        now: Option<Instant>,
        turn: &mut Turn<'_>,
    ) -> PyResult<()> {
        let py = controller.py();
        let of_call = controller.get();
        let ticket = of_call.ticket();
        // Before anything that takes time: whoever runs is counted, though the call ends meanwhile.
        let Some(running) = ticket.run() else {
            return Ok(());
        };
        // The numbers were held against the tables when the frame came in.
        let Some(bound) = of_call.bound() else {
            return Ok(());
        };
        // Where none can be refused nobody asks how long they wait.
        if let Some(now) = now.filter(|_| link.traits().failures)
            && !bound.awaits.load(Ordering::Relaxed)
        {
            ticket.taken_up(now);
        }
        let opened = answer::opened(py, body, link.limit());
        let request = match opened.and_then(|body| parse(py, bound, &body)) {
            Ok(request) => request,
            Err(fault) => {
                let text = format!("bad request for {}: {fault}", of_call.full_name());
                self.bad_body(link, ticket, text);
                return Ok(());
            }
        };
        let Some(handler) = &bound.handler else {
            let text = format!("{} is not implemented", of_call.full_name());
            of_call.fail(&Status::new(Code::Unimplemented, text));
            return Ok(());
        };
        let run = Run {
            handler: handler.bind(py),
            awaits: &bound.awaits,
            running,
        };
        self.run(controller, run, request, turn)
    }

    fn bad_body(&self, link: &Arc<dyn Peer>, ticket: &Ticket, text: String) {
        let reason = RejectReason::BadBody;
        self.servicing.counters.rejected(reason);
        let peer = link.peer();
        let refused = format!("request refused peer={peer} kind=bad_body reason={text:?}");
        self.servicing.log(Level::Warning, refused);
        let status = Status::new(Code::InvalidArgument, &*text);
        if link.traits().failures {
            ticket.fail(&status.with_native(errno::EREQUEST));
            return;
        }
        ticket.finish(Outcome::Failed(status.code));
        // Where answers are waited for, no answer would be taken for silence.
        if link.closes_on_bad_body() || link.traits().answers != Answers::Never {
            self.refuse(link, CloseReason::new(CloseKind::Rejected(reason), text));
        }
    }

    fn run(
        &self,
        controller: &Bound<'_, ServerController>,
        run: Run<'_, '_>,
        request: Bound<'_, PyAny>,
        turn: &mut Turn<'_>,
    ) -> PyResult<()> {
        let py = controller.py();
        let ends = controller
            .get()
            .deadline()
            .map(|deadline| self.servicing.process.get().monotonic(deadline));
        let done = Bound::new(py, Done::new(controller.clone().unbind()))?;
        vectorcall::tell_type(&done);
        let handled = enter::in_copy(self.servicing.context.bind(py), || {
            if let Some(ends) = ends {
                enter::set_variable(imports::deadline(py)?, &PyFloat::new(py, ends))?;
            }
            Ok(enter::apply(
                run.handler,
                &[controller.as_any(), &request, done.as_any()],
            ))
        });
        enter::release(request);
        let settled = match handled {
            // The handler's context was left: the event loop may enter it at any time from now on.
            Ok((context, Ok(result))) => {
                let settled = self.settle(&result, context, done.as_unbound(), run, turn);
                enter::release(result);
                settled
            }
            Ok((_, Err(error))) => {
                done.get().raise(py, error);
                Ok(())
            }
            Err(error) => Err(error),
        };
        enter::release(done.into_any());
        settled
    }

    /// Does with a handler's result what it asks for.
    fn settle(
        &self,
        result: &Bound<'_, PyAny>,
        context: Bound<'_, PyAny>,
        done: &Py<Done>,
        run: Run<'_, '_>,
        turn: &mut Turn<'_>,
    ) -> PyResult<()> {
        let py = result.py();
        if result.is_none() {
            return Ok(());
        }
        if !is_awaitable(result)? {
            return done.get().conclude(py, Some(result));
        }
        run.awaits.store(true, Ordering::Relaxed);
        let runs = run.running.on();
        runs.waits();
        let ends = (Ends::Call(done.clone_ref(py)), Some(runs));
        if let Err(error) = self.submit(py, result, context, ends, turn) {
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
    bound.request.parse(py, body).map_err(|fault| match fault {
        Fault::Raised(error) => Described::of(py, &error).status.text,
        Fault::Lacks(missing) => format!("the request lacks {}", missing.join(", ")),
    })
}

/// Whether a handler gave back something to await.
pub(super) fn is_awaitable(result: &Bound<'_, PyAny>) -> PyResult<bool> {
    if result.is_none() {
        return Ok(false);
    }
    result.get_type().hasattr(intern!(result.py(), "__await__"))
}
