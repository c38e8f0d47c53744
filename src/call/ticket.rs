//! The duty to end one call that came in, exactly once.

use std::mem;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::call::{Admission, Link, Outcome, Permit, Reply};
use crate::status::{Code, Status};
use crate::wire::{Body, Extras};

/// Where an answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyTo {
    /// The id that the call carried, where the wire has ids.
    pub id: Option<u64>,
    /// The call's place among those of its connection that are open.
    pub place: usize,
    /// Its turn, where answers leave in the order of the calls.
    pub turn: u64,
}

/// Somebody who wants to know that a call was ended from outside, or that it has ended at all.
pub trait EndListener: Send + Sync {
    /// The call has ended. Whoever ended it may be on any thread.
    fn ended(&self);
}

/// It has ended.
const ENDED: u8 = 1;
/// The caller waits no more.
const CANCELLED: u8 = 1 << 1;
/// A worker has it.
const BEGUN: u8 = 1 << 2;
/// Its handler runs.
const RUNS: u8 = 1 << 3;
/// Somebody wants to be told of the end.
const WATCHED: u8 = 1 << 4;
/// It waited for its peer, so that how long says nothing of the workers.
const HELD_BACK: u8 = 1 << 5;

/// One call between its arrival and its end. Everybody who may end it shares it; the first one
/// does. Dropped by all of them, it ends as a failure.
pub struct Ticket {
    link: Arc<dyn Link>,
    to: ReplyTo,
    arrived: Instant,
    deadline: Option<Instant>,
    /// What has become of it, a bit each.
    state: AtomicU8,
    /// None where nobody bounds how much is under way; of the link's door otherwise.
    permit: Option<Permit>,
    listener: Mutex<Option<Weak<dyn EndListener>>>,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket")
            .field("to", &self.to)
            .field("ended", &self.is_ended())
            .finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While this is kept, the handler of a call runs.
#[derive(Debug)]
pub struct Running<'a>(&'a Arc<Ticket>);

/// The same for a handler that runs on when who called it has gone elsewhere.
#[derive(Debug)]
pub struct RunsOn(Arc<Ticket>);

impl Running<'_> {
    /// The handler runs on.
    #[must_use]
    pub fn on(self) -> RunsOn {
        let ticket = Arc::clone(self.0);
        mem::forget(self);
        RunsOn(ticket)
    }
}

impl RunsOn {
    /// It was called, and what it is to do waits for its turn elsewhere: the call waits again.
    pub fn waits(&self) {
        self.0.wait_again();
    }

    /// The wait is over. False when the call has ended meanwhile, so that nothing need be done.
    #[must_use]
    pub fn begins(&self) -> bool {
        // Where none can be refused nobody asks how long they wait.
        if self.0.link.traits().failures {
            self.0.taken_up(Instant::now());
        }
        self.0.begin();
        !self.0.is_ended()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.returned();
    }
}

impl Drop for RunsOn {
    fn drop(&mut self) {
        self.0.returned();
    }
}

impl Ticket {
    /// The duty to end the call that came in on `link` at `arrived` and must end by `deadline`.
    #[must_use]
    pub fn new(
        link: Arc<dyn Link>,
        to: ReplyTo,
        arrived: Instant,
        deadline: Option<Instant>,
        permit: Option<Permit>,
    ) -> Self {
        Self {
            link,
            to,
            arrived,
            deadline,
            state: AtomicU8::new(0),
            permit,
            listener: Mutex::new(None),
        }
    }

    /// The connection that the call came by.
    #[must_use]
    pub fn link(&self) -> &Arc<dyn Link> {
        &self.link
    }

    /// When the caller stops waiting, where the wire says so.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// How long the call has been here.
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.arrived)
    }

    fn permit(&self) -> Option<(&Permit, &Admission)> {
        Some((self.permit.as_ref()?, self.link.door()?))
    }

    fn is(&self, state: u8) -> bool {
        self.state.load(Ordering::Acquire) & state != 0
    }

    /// Adds to what has become of it; gives what had before.
    fn becomes(&self, state: u8) -> u8 {
        self.state.fetch_or(state, Ordering::AcqRel)
    }

    /// A worker comes to it, so that it shows how long calls wait here.
    pub fn taken_up(&self, now: Instant) {
        if let Some((permit, door)) = self.permit()
            && !self.is(HELD_BACK)
        {
            permit.taken_up(door, self.age(now));
        }
    }

    /// It could not begin while its peer did not read.
    pub fn held_back(&self) {
        self.becomes(HELD_BACK);
    }

    /// It waits no longer: a worker has it.
    pub fn begin(&self) {
        if self.becomes(BEGUN) & (BEGUN | ENDED) == 0
            && let Some((permit, door)) = self.permit()
        {
            permit.begin(door);
        }
    }

    fn wait_again(&self) {
        let Some((permit, door)) = self.permit() else {
            return;
        };
        // Before that can be seen: whoever ends the call from then on takes it back.
        permit.wait_again(door);
        if self.state.fetch_and(!BEGUN, Ordering::AcqRel) & ENDED != 0 {
            self.becomes(BEGUN);
            permit.begin(door);
        }
    }

    /// Its handler runs; `None` when it has ended and must not be run any more. It counts as
    /// running until it has both ended and returned.
    pub fn run(self: &Arc<Self>) -> Option<Running<'_>> {
        let before = self.becomes(RUNS);
        if before & ENDED == 0 {
            return Some(Running(self));
        }
        // Its end has given the permit back.
        self.state.fetch_and(!RUNS, Ordering::AcqRel);
        None
    }

    fn returned(&self) {
        if self.state.fetch_and(!RUNS, Ordering::AcqRel) & ENDED != 0 {
            self.leave();
        }
    }

    fn leave(&self) {
        if let Some((permit, door)) = self.permit() {
            permit.leave(door);
        }
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.is(ENDED)
    }

    /// Whether the caller waits no more: its deadline passed, or it is gone.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.is(CANCELLED) || self.link.is_lost()
    }

    /// Has `listener` told of the end; at once when the call has ended.
    pub fn on_end(&self, listener: Weak<dyn EndListener>) {
        *locked(&self.listener) = Some(listener);
        if self.becomes(WATCHED) & ENDED != 0 {
            self.tell();
        }
    }

    fn tell(&self) {
        let listener = locked(&self.listener).take();
        if let Some(listener) = listener.and_then(|listener| listener.upgrade()) {
            listener.ended();
        }
    }

    /// Ends the call with a response, and says whether this was its end.
    pub fn respond<'a>(&self, response: impl Into<Body<'a>>, extras: &'a Extras) -> bool {
        let outcome = Ok(response.into());
        self.end(Outcome::Ok, Some(Reply { outcome, extras }))
    }

    /// Ends the call as failed, and says whether this was its end.
    pub fn fail(&self, status: &Status) -> bool {
        self.deny(status, &Extras::NONE)
    }

    /// The same with something beside the failure.
    pub fn deny(&self, status: &Status, extras: &Extras) -> bool {
        let outcome = Err(status);
        let ends = Outcome::Failed(status.code);
        self.end(ends, Some(Reply { outcome, extras }))
    }

    /// Ends the call without an answer, and says whether this was its end.
    pub fn finish(&self, outcome: Outcome) -> bool {
        self.end(outcome, None)
    }

    fn end(&self, outcome: Outcome, answer: Option<Reply<'_>>) -> bool {
        let before = self.becomes(ENDED);
        if before & ENDED != 0 {
            self.link.tally().late();
            return false;
        }
        self.close(before, outcome, answer);
        true
    }

    /// Ends the call because the caller's time is up; nothing happens when it has ended.
    pub fn expire(&self) {
        self.run_out(false);
    }

    /// The same for a call that a worker has taken up too late to run it.
    pub fn expire_unrun(&self) {
        self.run_out(true);
    }

    fn run_out(&self, unrun: bool) {
        let status = Status::new(Code::DeadlineExceeded, "the deadline passed on the server");
        let before = self.give_up(&status, true);
        if before.is_some_and(|before| unrun || before & BEGUN == 0) {
            self.link.tally().expired();
        }
    }

    /// Ends the call because nobody is left to answer to; nothing happens when it has ended.
    pub fn lose(&self) {
        let status = Status::new(Code::Cancelled, "the connection was lost");
        self.give_up(&status, false);
    }

    /// Gives what had become of the call before, if this was its end.
    fn give_up(&self, status: &Status, answer: bool) -> Option<u8> {
        let before = self.becomes(ENDED);
        if before & ENDED != 0 {
            return None;
        }
        self.becomes(CANCELLED);
        let reply = Reply {
            outcome: Err(status),
            extras: &Extras::NONE,
        };
        let outcome = Outcome::Failed(status.code);
        self.close(before, outcome, answer.then_some(reply));
        Some(before)
    }

    /// `before` is what had become of the call before it ended.
    fn close(&self, before: u8, outcome: Outcome, answer: Option<Reply<'_>>) {
        let replaced = self.link.answer(self.to, answer);
        let tally = self.link.tally();
        tally.ended(replaced.map_or(outcome, Outcome::Failed));
        if let Some((permit, door)) = self.permit() {
            if before & BEGUN == 0 {
                permit.begin(door);
            }
            if before & RUNS == 0 {
                permit.leave(door);
            }
        }
        if self.is(WATCHED) {
            self.tell();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.is_ended() {
            self.fail(&Status::new(Code::Internal, "the call was given up"));
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
