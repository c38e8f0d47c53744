//! The calls that a connection carries to its peer, and the answers that come back.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::Notify;

use crate::call::{
    Answer, CloseKind, CloseReason, Completed, Ended, GOAWAY, Greeting, Link as _, NotTaken,
    Outbound, Pending, RejectReason, Waiter,
};
use crate::metrics::Counters;
use crate::net::clock;
use crate::net::connection::{Connection, locked};
use crate::net::cork::holds_back;
use crate::net::outgoing::{Accepted, Chunks, Kind, Outgoing};
use crate::net::terms::Role;
use crate::status::{Code, Status};
use crate::wire::baidu_std::errno;
use crate::wire::{Answers, Body, EncodeError, Extras, OutgoingCall, ReplyFrame, Traits};

/// Calls of one connection that may wait for their answers.
const PENDING_CALLS: usize = 65_536;

/// The ids of a server's calls are above this. A client of brpc that hands on what another one said
/// about itself is called by mistake. To it, small ids are calls of its own or worse, and one of
/// these ended the process; those with the highest bit set are nothing, and dropped.
const PUSH_IDS: u64 = 1 << 63;

/// The calling half of a connection's state.
#[derive(Debug)]
pub(super) struct Calling {
    pending: Mutex<Pending<Waiter>>,
    /// The next id where nothing waits for answers.
    one_way_id: Mutex<u64>,
    /// The first call was sent.
    greeted: AtomicBool,
    /// The peer understands that this end stops.
    moves: AtomicBool,
    /// The peer serves calls.
    serves: AtomicBool,
    /// The peer stops, or this end closes the connection: no new calls are sent.
    leaving: AtomicBool,
    /// Told when that becomes so.
    left: Notify,
}

/// Why a call was not sent.
#[derive(Debug)]
pub(super) enum NotSent {
    /// Too much waits to be written.
    Full {
        /// Bytes that wait.
        unwritten: usize,
    },
    /// The connection takes no calls any more; another one may.
    Gone(Status),
    /// The call is not sent, here or elsewhere.
    Refused(Ended),
}

impl Calling {
    pub(super) fn new(traits: Traits, server: bool) -> Self {
        let in_order = traits.answers == Answers::InOrder;
        let largest_id = largest_id(traits);
        let pending = Pending::new(in_order, largest_id, PENDING_CALLS);
        let pending = if server && traits.both_ways {
            pending.above(PUSH_IDS)
        } else {
            pending
        };
        Self {
            pending: Mutex::new(pending),
            one_way_id: Mutex::new(0),
            greeted: AtomicBool::new(false),
            moves: AtomicBool::new(false),
            serves: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            left: Notify::new(),
        }
    }

    /// Takes note of what the peer said about itself.
    pub(super) fn greeted_by(&self, Greeting { moves, serves }: Greeting) {
        self.moves.store(moves, Ordering::Relaxed);
        self.serves.store(serves, Ordering::Relaxed);
    }

    /// Whether the peer understands that this end stops.
    pub(super) fn peer_moves(&self) -> bool {
        self.moves.load(Ordering::Relaxed)
    }

    /// Whether the peer serves calls.
    pub(super) fn peer_serves(&self) -> bool {
        self.serves.load(Ordering::Relaxed)
    }

    /// Lets no new calls be sent.
    pub(super) fn leave(&self) {
        if !self.leaving.swap(true, Ordering::AcqRel) {
            self.left.notify_one();
        }
    }

    /// When the next call runs out of time.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        locked(&self.pending).next_deadline()
    }
}

/// The largest id that a call may have. The last one is set aside for the end of the connection.
pub(super) fn largest_id(traits: Traits) -> u64 {
    match traits.largest_id {
        0 => GOAWAY - 1,
        largest => largest.min(GOAWAY - 1),
    }
}

fn invalid(error: EncodeError) -> NotSent {
    NotSent::Refused(Ended::Invalid(error))
}

fn failed(code: Code, text: String) -> NotSent {
    NotSent::Refused(Ended::Failed(Status::new(code, text)))
}

impl Connection {
    /// Sends a call; the waiter is told, maybe at once, how that ended. `None` where there is
    /// nothing to cancel.
    pub(super) fn push(
        &self,
        call: &Outbound,
        waiter: Waiter,
    ) -> Result<Option<u64>, (NotSent, Waiter)> {
        if let Err(refused) = self.may_call() {
            return Err((refused, waiter));
        }
        if self.answers() {
            self.push_asking(call, waiter).map(Some)
        } else {
            self.push_one_way(call, waiter).map(|()| None)
        }
    }

    fn may_call(&self) -> Result<(), NotSent> {
        if self.was_left() {
            return Err(NotSent::Gone(self.gone()));
        }
        let server = matches!(self.terms.role, Role::Server { .. });
        if server && self.answers() && !self.calling.peer_serves() {
            let protocol = self.protocol();
            let text = format!(
                "{} did not say that it serves calls; over {protocol} it would take this one for \
                 an answer",
                self.peer
            );
            return Err(failed(Code::Unimplemented, text));
        }
        Ok(())
    }

    fn push_one_way(&self, call: &Outbound, waiter: Waiter) -> Result<(), (NotSent, Waiter)> {
        let id = {
            let mut id = locked(&self.calling.one_way_id);
            *id = id.wrapping_add(1) & self.traits().largest_id;
            *id
        };
        let mut outgoing = locked(&self.outgoing);
        let pushed = self.write_call(&mut outgoing, call, id, &call.extras, false);
        drop(outgoing);
        match pushed {
            Ok(()) => waiter.tell(Ended::Answered(Answer::default())),
            Err(why) => return Err((why, waiter)),
        }
        Ok(())
    }

    fn push_asking(&self, call: &Outbound, waiter: Waiter) -> Result<u64, (NotSent, Waiter)> {
        // Held over both: where answers come in the order of the calls, the table must have them
        // in the order in which they are written.
        let mut outgoing = locked(&self.outgoing);
        // No answer would come, and the caller could not know that the call was not run: a server
        // that died a moment ago must not take calls along that were made after that.
        if !outgoing.is_corked() && outgoing.is_ended_by_peer() {
            drop(outgoing);
            self.leave();
            return Err((NotSent::Gone(self.gone()), waiter));
        }
        let inserted = locked(&self.calling.pending).insert(call.deadline, waiter);
        let (id, sooner) = match inserted {
            Ok(inserted) => inserted,
            Err((why, waiter)) => {
                let why = match why {
                    NotTaken::Failed(status) => NotSent::Gone(status),
                    NotTaken::Full(waiting) => failed(
                        Code::ResourceExhausted,
                        format!("{waiting} calls to {} wait for answers already", self.peer),
                    ),
                };
                return Err((why, waiter));
            }
        };
        let first = !self.calling.greeted.load(Ordering::Relaxed);
        let greeted = first.then(|| self.terms.greet(&call.extras));
        let extras = greeted.as_ref().unwrap_or(&call.extras);
        if let Err(why) = self.write_call(&mut outgoing, call, id, extras, true) {
            let waiter = locked(&self.calling.pending).withdraw(id);
            drop(outgoing);
            // Told already when it is not there: its time was up, or the connection was lost.
            return waiter.map_or(Ok(id), |waiter| Err((why, waiter)));
        }
        self.calling.greeted.store(true, Ordering::Relaxed);
        drop(outgoing);
        if let Some(deadline) = call.deadline.filter(|_| sooner) {
            self.alarm.set(deadline);
        }
        Ok(id)
    }

    fn write_call(
        &self,
        outgoing: &mut Outgoing,
        call: &Outbound,
        id: u64,
        extras: &Extras,
        recallable: bool,
    ) -> Result<(), NotSent> {
        let timeout = match call.deadline {
            None => None,
            Some(deadline) => match deadline.checked_duration_since(clock::now()) {
                Some(left) if !left.is_zero() => Some(left),
                _ => {
                    let text = "the deadline passed before the call was sent".to_owned();
                    return Err(failed(Code::DeadlineExceeded, text));
                }
            },
        };
        let head = self
            .terms
            .codec
            .call_head(&OutgoingCall {
                method: &call.method,
                id: Some(id),
                timeout,
                body: Body::from(&call.body),
                extras,
            })
            .map_err(invalid)?;
        let frame = Chunks {
            head: head.as_slice(),
            body: &call.body.bytes,
            tail: extras.attachment(),
            kind: Kind::Call(recallable.then_some(id)),
        };
        let (accepted, written) = outgoing.push(&frame, true, holds_back());
        self.stir();
        let counters = &self.terms.counters;
        Counters::add(&counters.bytes_sent, written);
        match accepted {
            Accepted::Written | Accepted::Held { first: false } => {}
            Accepted::Waiting => self.wake_writer.notify_one(),
            Accepted::Held { first: true } => self.hold(),
            Accepted::Full { unwritten } => return Err(NotSent::Full { unwritten }),
            Accepted::Gone => return Err(NotSent::Gone(self.gone())),
        }
        Counters::count(&counters.calls_sent);
        Ok(())
    }

    /// Takes an answer to whoever waits for it.
    pub(super) fn complete(&self, reply: ReplyFrame) -> Result<(), CloseReason> {
        let ReplyFrame {
            id,
            outcome,
            mut extras,
        } = reply;
        if !extras.metadata().is_empty() {
            // A server that answers with what it was given sends ours back.
            Greeting::take(&mut extras.parts_mut().metadata);
        }
        if let Err(status) = &outcome
            && status.native == Some(errno::ELOGOFF)
        {
            self.leave();
            if id == Some(GOAWAY) {
                return Ok(());
            }
        }
        let completed = locked(&self.calling.pending).complete(id);
        let counters = &self.terms.counters;
        match completed {
            Completed::Waiter(waiter) => {
                let end = match outcome {
                    Ok(body) => Ended::Answered(Answer { body, extras }),
                    Err(status) => Ended::Denied(status, extras),
                };
                waiter.tell(end);
            }
            Completed::Nobody => Counters::count(&counters.late_replies),
            Completed::OutOfOrder { expected } => {
                let text = match (expected, id) {
                    (None, _) => "an answer came though no call waits for one".to_owned(),
                    (Some(expected), id) => format!(
                        "the answer to call {} came when that to call {expected} was due",
                        id.unwrap_or_default()
                    ),
                };
                let kind = CloseKind::Rejected(RejectReason::UnexpectedReply);
                return Err(CloseReason::new(kind, text));
            }
        }
        self.finish_when_left();
        Ok(())
    }

    /// Ends a call that nobody waits for any more.
    pub(super) fn cancel_call(&self, id: u64) {
        let waiter = locked(&self.calling.pending).cancel(id);
        if let Some(waiter) = waiter {
            let status = Status::new(Code::Cancelled, "the caller cancelled the call");
            waiter.tell(Ended::Failed(status));
        }
        self.finish_when_left();
    }

    /// Forgets a call whose end is told by somebody else.
    pub(super) fn abandon_call(&self, id: u64) {
        let waiter = locked(&self.calling.pending).cancel(id);
        drop(waiter);
        self.finish_when_left();
    }

    /// Ends the calls whose time is up at `now`.
    pub(super) fn expire_calls(&self, now: Instant) {
        loop {
            let waiter = locked(&self.calling.pending).expire(now);
            let Some(waiter) = waiter else { break };
            let text = format!("no answer from {} within the deadline", self.peer);
            waiter.tell(Ended::Failed(Status::new(Code::DeadlineExceeded, text)));
        }
        self.finish_when_left();
    }

    /// Ends all calls: no answer will come any more.
    pub(super) fn fail_calls(&self, reason: &CloseReason) {
        let text = format!("the connection to {} was lost: {reason}", self.peer);
        let status = Status::new(Code::Unavailable, text);
        let unsent: HashSet<_> = locked(&self.outgoing).take_back().into_iter().collect();
        let failed = locked(&self.calling.pending).fail_all(status.clone());
        for (id, waiter) in failed {
            let status = status.clone();
            waiter.tell(if unsent.contains(&id) {
                Ended::Unsent(status)
            } else {
                Ended::Failed(status)
            });
        }
    }

    /// How many calls wait for answers.
    pub fn pending_calls(&self) -> usize {
        locked(&self.calling.pending).len()
    }

    /// Sends no new calls; those under way may end.
    pub(super) fn leave(&self) {
        self.calling.leave();
        self.finish_when_left();
    }

    /// Whether new calls may be sent.
    pub(super) fn takes_calls(&self) -> bool {
        !self.was_left() && self.is_open()
    }

    /// Whether no new calls may be sent though the connection is there.
    pub(super) fn was_left(&self) -> bool {
        self.calling.leaving.load(Ordering::Acquire)
    }

    /// Ready when the connection takes no new calls though it is not gone.
    pub(super) async fn left(&self) {
        self.calling.left.notified().await;
    }

    /// Closes a connection that was left, once nothing is under way on it.
    fn finish_when_left(&self) {
        if self.was_left() && locked(&self.calling.pending).is_empty() {
            let text = "the peer takes no more calls on it, and nothing is under way any more";
            self.finish(CloseReason::new(CloseKind::PeerClosed, text));
        }
    }
}
