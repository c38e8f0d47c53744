//! One connection: its handle, which any thread may use, for as long as anybody keeps it.
//!
//! How it calls stands in `calling.rs`, how it answers in `answering.rs`, what its task does
//! meanwhile in `lifecycle.rs`, how that reads in `reading.rs`, how it keeps time in `alarm.rs`.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use tokio::sync::{Notify, SetOnce};

use crate::call::{
    Admission, CloseReason, Ended, Lane, Level, Link, LossListener, Outbound, Registry, Reply,
    ReplyTo, Tally, TlsInfo, Waiter,
};
use crate::metrics::Counters;
use crate::net::Stream;
use crate::net::alarm::Alarm;
use crate::net::answering::Answering;
use crate::net::calling::{Calling, NotSent};
use crate::net::loss::Loss;
use crate::net::outgoing::{Left, Outgoing, Unsent};
use crate::net::terms::{Offer, Role, Terms};
use crate::net::unfinished::Noted;
use crate::status::{Code, Status};
use crate::wire::{Answers, Traits};

/// A connection, open or gone.
pub struct Connection {
    me: Weak<Self>,
    /// Those of the protocol, which are asked for at every step.
    traits: Traits,
    pub(super) peer: String,
    pub(super) tls: Option<Arc<TlsInfo>>,
    pub(super) terms: Arc<Terms>,
    /// The services that the peer may call; set when the session knows them.
    pub(super) registry: SetOnce<Arc<Registry>>,
    /// Whether the peer is whom it says it is; set when that is known.
    pub(super) verdict: SetOnce<Result<(), Status>>,
    pub(super) outgoing: Mutex<Outgoing>,
    pub(super) calling: Calling,
    pub(super) answering: Answering,
    /// Where its calls wait.
    pub(super) lane: OnceLock<Weak<Lane>>,
    /// No call begins, since the peer does not read its answers.
    held_back: AtomicBool,
    /// Something waits to be written, or the write side is to be closed.
    pub(super) wake_writer: Notify,
    /// There may be room for another frame.
    pub(super) room: Notify,
    pub(super) alarm: Alarm,
    /// Why this side wants the connection to end.
    pub(super) ending: Mutex<Option<CloseReason>>,
    /// This side wants it to end now.
    pub(super) aborted: Notify,
    /// For which reasons calls were refused, a bit each.
    pub(super) refused_for: AtomicU32,
    /// The session was told of it.
    pub(super) opened: AtomicBool,
    /// Something has gone over it since the last look.
    pub(super) stirred: AtomicBool,
    /// Where its unfinished frame is noted.
    pub(super) noted: Noted,
    /// A frame came in: the peer is more than a port that accepts and closes.
    pub(super) heard: AtomicBool,
    loss: Loss,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connection {
    /// A handle on `stream`, whose other end is at `peer`.
    #[must_use]
    pub fn new(stream: Arc<Stream>, peer: String, terms: Arc<Terms>) -> Arc<Self> {
        let known = match &terms.offer {
            Offer::Services(registry) => Some(Arc::clone(registry)),
            Offer::Nothing | Offer::BySession => None,
        };
        let tls = stream.tls().cloned();
        let outgoing = Mutex::new(Outgoing::new(stream, terms.coalesce));
        let traits = terms.codec.traits();
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            traits,
            peer,
            tls,
            registry: SetOnce::new_with(known),
            verdict: SetOnce::new(),
            outgoing,
            calling: Calling::new(traits, matches!(terms.role, Role::Server { .. })),
            answering: Answering::new(traits),
            terms,
            lane: OnceLock::new(),
            held_back: AtomicBool::new(false),
            wake_writer: Notify::new(),
            room: Notify::new(),
            alarm: Alarm::default(),
            ending: Mutex::new(None),
            aborted: Notify::new(),
            refused_for: AtomicU32::new(0),
            opened: AtomicBool::new(false),
            stirred: AtomicBool::new(false),
            noted: Noted::default(),
            heard: AtomicBool::new(false),
            loss: Loss::default(),
        })
    }

    /// Whether calls wait for answers.
    pub(super) fn answers(&self) -> bool {
        self.traits.answers != Answers::Never
    }

    fn is_caller(&self) -> bool {
        matches!(self.terms.role, Role::Caller { .. })
    }

    /// Begins no call of a peer for which too much waits already.
    pub(super) fn hold_back(&self) {
        if !self.held_back.swap(true, Ordering::AcqRel)
            && let Some(lane) = self.lane.get().and_then(Weak::upgrade)
        {
            lane.pause();
        }
    }

    pub(super) fn go_on(&self) {
        if self.held_back.load(Ordering::Acquire)
            && self.held_back.swap(false, Ordering::AcqRel)
            && let Some(lane) = self.lane.get().and_then(Weak::upgrade)
        {
            lane.resume();
        }
    }

    /// Has something held back written at the next flush.
    pub(super) fn hold(&self) {
        self.terms.driver.touch(self.weak());
    }

    /// Writes what was held back; called at the end of a batch.
    pub(super) fn uncork(&self) {
        let ended = {
            let mut outgoing = locked(&self.outgoing);
            outgoing.uncork();
            // Calls that are not written are made again elsewhere, see `push_asking`.
            self.is_caller() && self.answers() && outgoing.is_ended_by_peer()
        };
        if ended {
            return self.leave();
        }
        if !matches!(self.flush(), Ok(Left::Nothing)) {
            self.wake_writer.notify_one();
        }
    }

    pub(super) fn flush(&self) -> std::io::Result<Left> {
        let (left, written) = {
            let mut outgoing = locked(&self.outgoing);
            let flushed = outgoing.flush();
            self.pace(&outgoing);
            flushed
        };
        if written > 0 {
            Counters::add(&self.terms.counters.bytes_sent, written);
            self.room.notify_waiters();
        }
        left
    }

    /// Whether the socket is still open.
    pub fn is_alive(&self) -> bool {
        locked(&self.outgoing).is_alive()
    }

    /// Whether nothing waits to be written.
    pub fn is_flushed(&self) -> bool {
        locked(&self.outgoing).is_empty()
    }

    /// Whether no call waits for its answer, in either direction.
    pub fn is_unoccupied(&self) -> bool {
        self.answering.open_calls() == 0 && self.pending_calls() == 0
    }

    /// Lets go of the socket; whoever still wants to send is told.
    pub(super) fn close(&self) {
        self.rest_came();
        let Unsent { calls, replies } = locked(&self.outgoing).close();
        Counters::add(&self.terms.counters.calls_unsent, calls);
        Counters::add(&self.terms.counters.replies_unsent, replies);
        self.go_on();
        self.room.notify_waiters();
    }

    /// Tells those who wanted to know that the connection was lost.
    pub(super) fn lose(&self) {
        self.loss.lose();
        self.lose_tickets();
    }

    /// Itself.
    pub(super) fn weak(&self) -> Weak<Self> {
        Weak::clone(&self.me)
    }

    /// Whether anything waits to be run, or runs.
    pub(super) fn runs(&self) -> bool {
        let lane = self.lane.get().and_then(Weak::upgrade);
        lane.is_some_and(|lane| !lane.is_idle())
    }

    /// This side wants it to end for this reason, unless it has one already.
    pub(super) fn end_with(&self, reason: CloseReason) {
        locked(&self.ending).get_or_insert(reason);
    }

    /// Why this side wants the connection to end, if it does.
    pub(super) fn ending(&self) -> Option<CloseReason> {
        locked(&self.ending).clone()
    }

    pub(super) fn log(&self, level: Level, what: &str, more: &str) {
        let (peer, protocol) = (&self.peer, self.terms.codec.name());
        self.terms.journal.write(
            level,
            format!("{what} peer={peer} protocol={protocol}{more}"),
        );
    }

    pub(super) fn gone(&self) -> Status {
        let why = self
            .ending()
            .map_or_else(String::new, |reason| format!(": {reason}"));
        Status::new(
            Code::Unavailable,
            format!("the connection to {} is gone{why}", self.peer),
        )
    }

    pub(super) fn full(&self, unwritten: usize) -> Status {
        let text = format!(
            "{} has not read {unwritten} bytes yet; the call was not sent",
            self.peer
        );
        Status::new(Code::ResourceExhausted, text)
    }

    /// Whether the peer ever sent a frame.
    pub(super) fn was_heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }
}

impl Link for Connection {
    fn peer(&self) -> &str {
        &self.peer
    }

    fn protocol(&self) -> &'static str {
        self.terms.codec.name()
    }

    fn tls(&self) -> Option<&Arc<TlsInfo>> {
        self.tls.as_ref()
    }

    fn traits(&self) -> Traits {
        self.traits
    }

    fn limit(&self) -> usize {
        usize::try_from(self.terms.codec.limit()).unwrap_or(usize::MAX)
    }

    fn closes_on_bad_body(&self) -> bool {
        self.terms.close_on_bad_body
    }

    fn serve(&self, registry: Arc<Registry>) {
        // The terms may have named them already; they are the same then.
        let _ = self.registry.set(registry);
    }

    fn judge(&self, verdict: Result<(), Status>) {
        // The first verdict counts.
        let _ = self.verdict.set(verdict);
    }

    fn call(&self, call: &Outbound, waiter: Waiter) -> Option<u64> {
        let (why, waiter) = match self.push(call, waiter) {
            Ok(number) => return number,
            Err(refused) => refused,
        };
        waiter.tell(match why {
            NotSent::Refused(end) => end,
            NotSent::Gone(status) => Ended::Failed(status),
            NotSent::Full { unwritten } => Ended::Failed(self.full(unwritten)),
        });
        None
    }

    fn cancel(&self, number: u64) {
        self.cancel_call(number);
    }

    fn answer(&self, to: ReplyTo, answer: Option<Reply<'_>>) -> Option<Code> {
        self.settle(to, answer)
    }

    fn door(&self) -> Option<&Admission> {
        match &self.terms.role {
            Role::Server { admission, .. } => Some(admission),
            Role::Caller { .. } => None,
        }
    }

    fn tally(&self) -> &dyn Tally {
        &*self.terms.counters
    }

    fn is_open(&self) -> bool {
        locked(&self.outgoing).is_open()
    }

    fn is_lost(&self) -> bool {
        self.loss.is_lost()
    }

    fn on_loss(&self, listener: Weak<dyn LossListener>) {
        self.loss.listen(listener);
    }

    fn finish(&self, reason: CloseReason) {
        self.end_with(reason);
        self.calling.leave();
        if !self.answering.finish_when_empty() {
            return;
        }
        self.end_writing();
    }

    fn abort(&self, reason: CloseReason) {
        *locked(&self.ending) = Some(reason);
        self.aborted.notify_one();
    }
}
