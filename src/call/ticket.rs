//! The duty to end one call that came in, exactly once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::call::{Link, Outcome, Permit, Reply, Seat, Tally};
use crate::status::{Code, Status};
use crate::wire::{Extras, Payload};

/// Where an answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyTo {
    /// The id that the call carried, where the wire has ids.
    pub id: Option<u64>,
    /// The call's number on its connection.
    pub number: u64,
}

/// Somebody who wants to know that a call was ended from outside, or that it has ended at all.
pub trait EndListener: Send + Sync {
    /// The call has ended. Whoever ended it may be on any thread.
    fn ended(&self);
}

/// One call between its arrival and its end. Everybody who may end it shares it; the first one
/// does. Dropped by all of them, it ends as a failure.
pub struct Ticket {
    link: Arc<dyn Link>,
    tally: Arc<dyn Tally>,
    to: ReplyTo,
    arrived: Instant,
    deadline: Option<Instant>,
    ended: AtomicBool,
    cancelled: AtomicBool,
    permit: Mutex<Option<Arc<Permit>>>,
    /// None once it has begun.
    seat: Mutex<Option<Seat>>,
    listener: Mutex<Option<Weak<dyn EndListener>>>,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket")
            .field("to", &self.to)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ticket {
    /// The duty to end the call that came in on `link` at `arrived` and must end by `deadline`.
    #[must_use]
    pub fn new(
        link: Arc<dyn Link>,
        tally: Arc<dyn Tally>,
        to: ReplyTo,
        arrived: Instant,
        deadline: Option<Instant>,
        (permit, seat): (Option<Permit>, Seat),
    ) -> Self {
        Self {
            link,
            tally,
            to,
            arrived,
            deadline,
            ended: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            permit: Mutex::new(permit.map(Arc::new)),
            seat: Mutex::new(Some(seat)),
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

    /// It waits no longer: a worker has it.
    pub fn begin(&self) {
        drop(locked(&self.seat).take());
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Whether the caller waits no more: its deadline passed, or it is gone.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire) || self.link.is_lost()
    }

    /// A share in the right to run, for who runs the handler: it counts as running until it has
    /// both ended and returned.
    #[must_use]
    pub fn permit(&self) -> Option<Arc<Permit>> {
        locked(&self.permit).clone()
    }

    /// Has `listener` told of the end; at once when the call has ended.
    pub fn on_end(&self, listener: Weak<dyn EndListener>) {
        *locked(&self.listener) = Some(listener);
        if self.is_ended() {
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
    pub fn respond(&self, response: Payload, extras: Extras) -> bool {
        self.end(Outcome::Ok, Some((Ok(response), extras)))
    }

    /// Ends the call as failed, and says whether this was its end.
    pub fn fail(&self, status: Status) -> bool {
        self.deny(status, Extras::default())
    }

    /// The same with something beside the failure.
    pub fn deny(&self, status: Status, extras: Extras) -> bool {
        let outcome = Outcome::Failed(status.code);
        self.end(outcome, Some((Err(status), extras)))
    }

    /// Ends the call without an answer, and says whether this was its end.
    pub fn finish(&self, outcome: Outcome) -> bool {
        self.end(outcome, None)
    }

    fn end(&self, outcome: Outcome, answer: Option<Reply>) -> bool {
        if self.ended.swap(true, Ordering::AcqRel) {
            self.tally.late();
            return false;
        }
        self.close(outcome, answer);
        true
    }

    /// Ends the call because the caller's time is up; nothing happens when it has ended.
    pub fn expire(&self) {
        let waited = locked(&self.seat).is_some();
        self.run_out(waited);
    }

    /// The same for a call that a worker has taken up too late to run it.
    pub fn expire_unrun(&self) {
        self.run_out(true);
    }

    fn run_out(&self, waited: bool) {
        let status = Status::new(Code::DeadlineExceeded, "the deadline passed on the server");
        if self.give_up(status, true) && waited {
            self.tally.expired();
        }
    }

    /// Ends the call because nobody is left to answer to; nothing happens when it has ended.
    pub fn lose(&self) {
        let status = Status::new(Code::Cancelled, "the connection was lost");
        self.give_up(status, false);
    }

    fn give_up(&self, status: Status, answer: bool) -> bool {
        if self.ended.swap(true, Ordering::AcqRel) {
            return false;
        }
        self.cancelled.store(true, Ordering::Release);
        let outcome = Outcome::Failed(status.code);
        self.close(outcome, answer.then(|| (Err(status), Extras::default())));
        true
    }

    fn close(&self, outcome: Outcome, answer: Option<Reply>) {
        let replaced = self.link.answer(self.to, answer);
        self.tally.ended(replaced.map_or(outcome, Outcome::Failed));
        drop(locked(&self.permit).take());
        self.begin();
        self.tell();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.is_ended() {
            self.fail(Status::new(Code::Internal, "the call was given up"));
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
