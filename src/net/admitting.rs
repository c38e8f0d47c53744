//! The way of a call from its frame into a lane, or back to its caller with the reason why not.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::call::{
    Call, CloseKind, CloseReason, Event, Greeting, Lane, Level, Link, Permit, Place, Registry,
    RejectReason, ReplyTo, Tally, Ticket,
};
use crate::net::clock;
use crate::net::connection::{Connection, Role};
use crate::status::{Code, Status};
use crate::wire::baidu_std::errno;
use crate::wire::{CallFrame, Extras, Payload};

/// Bytes up to which a request or an attachment is copied out of the buffer it came in.
const SMALL_BYTES: usize = 2 * 1024;

/// Bytes of the calls that wait on one connection above which more are refused.
const WAITING_BYTES: usize = 64 * 1024 * 1024;
/// Calls that wait at a channel with `service=` above which more are refused.
const WAITING_CALLS: usize = 1024;

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
        lane.push(link, [Event::Credential(credential)]);
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
        lane: &Lane,
    ) -> Result<Option<Call>, CloseReason> {
        let (id, timeout) = (frame.id, frame.timeout);
        if !self.traits().failures && self.answers() && self.answering.is_finishing() {
            // Nobody can be told: the end of the stream, which comes after the last answer, says it.
            self.terms.counters.rejected(RejectReason::Stopping);
            return Ok(None);
        }
        let (place, body, permit) = match self.examine(&frame, registry, lane) {
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
        let arrived = clock::now();
        let number = if self.answers() {
            self.answering.number()
        } else {
            0
        };
        let to = ReplyTo { id, number };
        let link: Arc<dyn Link> = Arc::clone(self) as _;
        let tally: Arc<dyn Tally> = Arc::clone(&self.terms.counters) as _;
        let deadline = timeout.and_then(|timeout| arrived.checked_add(timeout));
        let rights = (permit, lane.processor().seat());
        let ticket = Arc::new(Ticket::new(link, tally, to, arrived, deadline, rights));
        if self.answers() && self.answering.watch(number, &ticket) {
            self.sooner.notify_one();
        }
        Ok(Some(Call {
            place,
            body: Payload {
                bytes: owned(body.bytes),
                ..body
            },
            extras: kept(frame.extras),
            ticket,
        }))
    }

    /// Whether no call of this connection was refused for that reason before.
    fn is_first_of(&self, reason: RejectReason) -> bool {
        let place = RejectReason::ALL.iter().position(|&other| other == reason);
        let bit = 1 << place.unwrap_or(0);
        self.refused_for.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }

    fn examine(
        &self,
        frame: &CallFrame,
        registry: &Registry,
        lane: &Lane,
    ) -> Result<(Place, Payload, Option<Permit>), NotAdmitted> {
        let place = registry
            .resolve(&frame.target)
            .map_err(|refusal| (RejectReason::UnknownMethod, refusal.status()))?;
        let body = frame.body.clone().map_err(|fault| {
            let status = Status::new(Code::InvalidArgument, fault.to_string());
            (RejectReason::BadBody, status.with_native(errno::EREQUEST))
        })?;
        if !self.traits().failures {
            return Ok((place, body, None));
        }
        if let Some(why) = self.answering.takes_no_calls() {
            let status = Status::new(Code::Unavailable, why);
            return Err((RejectReason::Stopping, status.with_native(errno::ELOGOFF)));
        }
        let full = |status: Status| (RejectReason::Overload, status.with_native(errno::ELIMIT));
        let caller = matches!(self.terms.role, Role::Caller { .. });
        let too_much = |(calls, bytes)| bytes > WAITING_BYTES || caller && calls >= WAITING_CALLS;
        // Calls that have ended since are looked for when it matters.
        if too_much(lane.waiting())
            && let (calls, bytes) = lane.waiting_swept()
            && too_much((calls, bytes))
        {
            let text = format!("{calls} calls with {bytes} bytes wait on this connection already");
            return Err(full(Status::new(Code::ResourceExhausted, text)));
        }
        let Role::Server { admission, .. } = &self.terms.role else {
            return Ok((place, body, None));
        };
        let (waiting, most) = (lane.processor().waiting_calls(), admission.limits().queued);
        if waiting >= most {
            let text = format!("{waiting} calls wait already, and max_queued_calls is {most}");
            return Err(full(Status::new(Code::ResourceExhausted, text)));
        }
        let permit = admission.enter(place.service, place.method).map_err(full)?;
        Ok((place, body, Some(permit)))
    }
}

/// Few bytes that wait must not hold on to the whole buffer they came in.
fn owned(bytes: Bytes) -> Bytes {
    if bytes.len() <= SMALL_BYTES {
        Bytes::copy_from_slice(&bytes)
    } else {
        bytes
    }
}

/// What came beside a call, as far as it is still of use.
fn kept(mut extras: Extras) -> Extras {
    if extras.parts().is_some() {
        let parts = extras.parts_mut();
        parts.attachment = owned(mem::take(&mut parts.attachment));
        // Who calls was asked before the call was let in.
        parts.credential = Bytes::new();
    }
    extras
}
