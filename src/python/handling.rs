//! How one call is run: from its bytes to the handler, and from what the handler gave to its end.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::call::{
    Call, CloseKind, CloseReason, Level, Link as Peer, Outcome, Permit, RejectReason, Ticket, Turn,
};
use crate::python::answer;
use crate::python::binding::BoundMethod;
use crate::python::completion::{Done, Finish};
use crate::python::controller::ServerController;
use crate::python::errors::Described;
use crate::python::invoker::Invoker;
use crate::python::message::missing_fields;
use crate::python::{enter, imports};
use crate::status::{Code, Status};
use crate::wire::Answers;
use crate::wire::baidu_std::errno;

/// What runs a call.
struct Run<'a, 'py> {
    bound: &'a BoundMethod,
    handler: &'a Bound<'py, PyAny>,
    /// Held for as long as the handler runs.
    permit: Option<Arc<Permit>>,
}

impl Invoker {
    /// A context of its own for one handler; in it, calls inherit the deadline of the one that is
    /// handled.
    pub(super) fn context<'py>(
        &self,
        py: Python<'py>,
        controller: Option<&ServerController>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let copy = self
            .servicing
            .context
            .bind(py)
            .getattr(pyo3::intern!(py, "copy"))?;
        let context = enter::call(&copy, ())?;
        if let Some(left) = controller.and_then(ServerController::time_remaining) {
            let run = context.getattr(pyo3::intern!(py, "run"))?;
            enter::call(&run, (imports::inherit(py)?, left))?;
        }
        Ok(context)
    }

    /// Has a coroutine run on its event loop; the lane goes on when it has ended.
    pub(super) fn submit(
        &self,
        py: Python<'_>,
        coroutine: &Bound<'_, PyAny>,
        context: Bound<'_, PyAny>,
        done: Option<(Py<Done>, Option<Arc<Permit>>)>,
        turn: &mut Turn<'_>,
    ) -> PyResult<()> {
        let (done, permit) = done.unzip();
        let finish = Finish::new(done, turn.hold(), permit.flatten());
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

    pub(super) fn call(
        &self,
        py: Python<'_>,
        link: &Arc<dyn Peer>,
        call: Call,
        turn: &mut Turn<'_>,
    ) {
        let Call {
            place,
            body,
            extras,
            ticket,
        } = call;
        // Before anything that takes time: whoever runs is counted, though the call ends meanwhile.
        let permit = ticket.permit();
        if ticket.is_ended() {
            return;
        }
        // The numbers were held against these tables when the frame came in.
        let Some((channel, binding)) = self.served(py, link, place.service) else {
            let text = "the connection is being ended";
            ticket.fail(Status::new(Code::Cancelled, text));
            return;
        };
        let binding = binding.get();
        let table = binding.schema.methods();
        let (Some(method), Some(bound)) = (
            table.methods().get(place.method),
            binding.methods.get(place.method),
        ) else {
            return;
        };
        let opened = answer::opened(py, &body, link.limit());
        let request = match opened.and_then(|body| parse(py, bound, &body)) {
            Ok(request) => request,
            Err(fault) => {
                let text = format!("bad request for {}: {fault}", method.full_name);
                return self.bad_body(link, &ticket, text);
            }
        };
        let controller = ServerController::new(
            Arc::clone(&self.servicing),
            ticket,
            channel,
            method.full_name.clone(),
            extras,
        );
        let Some(handler) = &bound.handler else {
            let text = format!("{} is not implemented", method.full_name);
            return controller.fail(Status::new(Code::Unimplemented, text));
        };
        let run = Run {
            bound,
            handler: handler.bind(py),
            permit,
        };
        if let Err(error) = self.run(py, controller, &run, request, turn) {
            // Only our own objects can have failed here, for want of memory most likely.
            self.hook_failed(py, "call", link, error);
        }
    }

    fn bad_body(&self, link: &Arc<dyn Peer>, ticket: &Ticket, text: String) {
        let reason = RejectReason::BadBody;
        self.servicing.counters.rejected(reason);
        let peer = link.peer();
        let refused = format!("request refused peer={peer} kind=bad_body reason={text:?}");
        self.servicing.log(Level::Warning, refused);
        let status = Status::new(Code::InvalidArgument, &*text);
        if link.traits().failures {
            ticket.fail(status.with_native(errno::EREQUEST));
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
        py: Python<'_>,
        controller: ServerController,
        run: &Run<'_, '_>,
        request: Bound<'_, PyAny>,
        turn: &mut Turn<'_>,
    ) -> PyResult<()> {
        let bound = run.bound;
        let context = self.context(py, Some(&controller))?;
        let controller = Py::new(py, controller)?;
        let class = bound.response_class.clone_ref(py);
        let done = Done::new(controller.clone_ref(py), class, bound.response_has_required);
        let done = Py::new(py, done)?;
        let enter_context = context.getattr(pyo3::intern!(py, "run"))?;
        let args = (run.handler, controller, request, done.clone_ref(py));
        let settled = match enter::call(&enter_context, args) {
            Ok(result) => {
                let settled = self.settle(&result, context, &done, run, turn);
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
        run: &Run<'_, '_>,
        turn: &mut Turn<'_>,
    ) -> PyResult<()> {
        let py = result.py();
        if result.is_none() {
            return Ok(());
        }
        if !is_awaitable(result)? {
            return done.get().conclude(py, Some(result));
        }
        let ends = Some((done.clone_ref(py), run.permit.clone()));
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
pub(super) fn is_awaitable(result: &Bound<'_, PyAny>) -> PyResult<bool> {
    if result.is_none() {
        return Ok(false);
    }
    result
        .get_type()
        .hasattr(pyo3::intern!(result.py(), "__await__"))
}
