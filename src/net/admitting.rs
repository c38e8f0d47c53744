//! The way of a call from its frame into a lane, or back to its caller with the reason why not.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::call::{
    Admission, Call, CloseKind, CloseReason, Event, Greeting, Held, Lane, Level, Link, Permit,
    Place, Registry, RejectReason, ReplyTo, Ticket,
};
use crate::net::clock;
use crate::net::connection::Connection;
use crate::net::terms::Role;
use crate::status::{Code, Status};
use crate::wire::baidu_std::errno;
use crate::wire::{BodyFault, CallFrame, Extras, Payload, Target};

/// Bytes of the calls that wait on one connection above which more are refused.
const WAITING_BYTES: usize = 64 * 1024 * 1024;
/// Calls that wait at a channel with `service=` above which more are refused.
const WAITING_CALLS: usize = 1024;

/// What one read brought.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    /// When they came.
    arrived: Instant,
    lane: &'a Lane,
    /// What waited in the lane before; looked up when somebody asks.
    waiting: Option<(usize, usize)>,
    /// All of them, and answers.
    pub(super) frames: u64,
    /// Those that were let in.
    pub(super) calls: Vec<Event>,
}

impl<'a> Batch<'a> {
    /// Calls that came now, for `lane`; there is room for `expected` of them.
    pub(super) fn new(lane: &'a Lane, expected: usize) -> Self {
        Self {
            arrived: clock::now(),
            lane,
            waiting: None,
            frames: 0,
            calls: Vec::with_capacity(expected),
        }
    }

    /// How many calls of the connection wait.
    fn waiting(&self) -> usize {
        self.waiting.map_or(0, |(calls, _)| calls) + self.calls.len()
    }

    /// The calls and the bytes that wait in the lane, if these are too much to let more of them in.
    fn too_much(&mut self, bounds_calls: bool) -> Option<(usize, usize)> {
        let much = |&(calls, bytes): &(usize, usize)| {
            bytes > WAITING_BYTES || bounds_calls && calls >= WAITING_CALLS
        };
        let waiting = *self.waiting.get_or_insert_with(|| {
            let waiting = self.lane.waiting();
            // Calls that have ended since are looked for when it matters.
            if much(&waiting) {
                self.lane.waiting_swept()
            } else {
                waiting
            }
        });
        Some(waiting).filter(much)
    }
}

/// Why a call is not let in: what it is counted under, and what its caller is told.
type NotAdmitted = (RejectReason, Status);

impl Connection {
    /// Takes note of what the first call of a connection says about its caller.
    pub(super) fn be_greeted(&self, extras: &mut Extras) {
        if !extras.metadata().is_empty() {
            let greeting = Greeting::take(&mut extras.parts_mut().metadata);
            self.calling.greeted_by(greeting);
        }
    }

    /// Asks the session whether the caller is whom it says it is.
    pub(super) async fn authenticate(
        &self,
        extras: &Extras,
        lane: &Arc<Lane>,
        link: &Arc<dyn Link>,
    ) -> Result<(), Status> {
        let Role::Server {
            authenticates: true,
            ..
        } = self.terms.role
        else {
            return Ok(());
        };
        let credential = Bytes::copy_from_slice(extras.credential());
        let metadata = extras.metadata().to_vec();
        lane.push(link, [Event::Credential(credential, metadata)]);
        self.verdict.wait().await.clone()
    }

    /// Tells a caller that it is not believed, and closes.
    pub(super) fn turn_away(&self, id: Option<u64>, status: Status) {
        let text = status.text.clone();
        self.refuse(id, &status.with_native(errno::ERPCAUTH));
        let kind = CloseKind::Rejected(RejectReason::Unauthenticated);
        self.finish(CloseReason::new(kind, text));
    }

    /// Whether the caller was not believed: what it still sends is passed over.
    pub(super) fn is_turned_away(&self) -> bool {
        matches!(self.verdict.get(), Some(Err(_)))
    }

    /// A call to an end that serves nothing: a channel without `service=` only sends, and need
    /// not lose its connection because the other end talks to everybody.
    pub(super) fn pass_over(&self, first: bool) {
        self.terms.counters.rejected(RejectReason::UnknownMethod);
        if first {
            self.log(
                Level::Warning,
                "call ignored: this channel has no service=",
                "",
            );
        }
    }

    /// Lets a call in, or answers it with the reason why not; where the wire cannot say that, or
    /// nobody reads it, the connection ends.
    pub(super) fn admit(
        self: &Arc<Self>,
        frame: CallFrame,
        registry: &Registry,
        batch: &mut Batch<'_>,
    ) -> Result<Option<Call>, CloseReason> {
        let CallFrame {
            target,
            id,
            timeout,
            body,
            extras,
        } = frame;
        if !self.traits().failures && self.answers() && self.answering.is_finishing() {
            // Nobody can be told: the end of the stream, which comes after the last answer, says it.
            self.terms.counters.rejected(RejectReason::Stopping);
            return Ok(None);
        }
        let (place, body, permit) = match self.examine(&target, body, timeout, registry, batch) {
            Ok(examined) => examined,
            Err((reason, status)) if self.traits().failures => {
                self.terms.counters.rejected(reason);
                if self.is_first_of(reason) {
                    let (kind, text) = (reason.label(), &status.text);
                    let what = format!(" kind={kind} reason={text:?} (said once a connection)");
                    self.log(Level::Warning, "call refused", &what);
                }
                self.refuse(id, &status);
                return self.may_refuse().map(|()| None);
            }
            Err((reason, status)) => {
                return Err(CloseReason::new(CloseKind::Rejected(reason), status.text));
            }
        };
        let arrived = batch.arrived;
        let deadline = timeout.and_then(|timeout| arrived.checked_add(timeout));
        let link: Arc<dyn Link> = Arc::clone(self) as _;
        let ticket = |to| Ticket::new(link, to, arrived, deadline, permit);
        let ticket = if self.answers() {
            let (ticket, next) = self.answering.watch(id, deadline, ticket);
            if let Some(deadline) = deadline.filter(|_| next) {
                self.alarm.set(deadline);
            }
            ticket
        } else {
            let (place, turn) = (0, 0);
            Arc::new(ticket(ReplyTo { id, place, turn }))
        };
        Ok(Some(Call {
            place,
            body,
            extras: kept(extras),
            ticket,
        }))
    }

    /// Whether no call of this connection was refused for that reason before.
    fn is_first_of(&self, reason: RejectReason) -> bool {
        const { assert!(RejectReason::ALL.len() <= 32, "a bit for each") };
        let place = RejectReason::ALL.iter().position(|&other| other == reason);
        let bit = 1 << place.unwrap_or(0);
        self.refused_for.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }

    fn examine(
        &self,
        target: &Target,
        body: Result<Payload, BodyFault>,
        timeout: Option<Duration>,
        registry: &Registry,
        batch: &mut Batch<'_>,
    ) -> Result<(Place, Payload, Option<Permit>), NotAdmitted> {
        let place = registry
            .resolve(target)
            .map_err(|refusal| (RejectReason::UnknownMethod, refusal.status()))?;
        let body = body.map_err(|fault| {
            let status = Status::new(Code::InvalidArgument, fault.to_string());
            (RejectReason::BadBody, status.with_native(errno::EREQUEST))
        })?;
        let admission = self.door();
        if !self.traits().failures {
            return Ok((place, body, admission.map(Admission::admit)));
        }
        if let Some(why) = self.answering.takes_no_calls() {
            let status = Status::new(Code::Unavailable, why);
            return Err((RejectReason::Stopping, status.with_native(errno::ELOGOFF)));
        }
        let full = |status: Status| (RejectReason::Overload, status.with_native(errno::ELIMIT));
        if let Some((calls, bytes)) = batch.too_much(admission.is_none()) {
            let text = format!("{calls} calls with {bytes} bytes wait on this connection already");
            return Err(full(Status::new(Code::ResourceExhausted, text)));
        }
        let held = || Held {
            waiting: batch.waiting(),
            open: self.answering.open_calls(),
            lanes: batch.lane.lanes_waiting(),
        };
        let permit = admission
            .map(|door| door.enter(place, timeout, held))
            .transpose();
        Ok((place, body, permit.map_err(full)?))
    }
}

/// What came beside a call, as far as it is still of use.
fn kept(mut extras: Extras) -> Extras {
    if extras.parts().is_some() {
        let parts = extras.parts_mut();
        // Who calls was asked before the call was let in.
        parts.credential = Bytes::new();
    }
    extras
}
