//! Lanes: the events of one connection, in the order in which they may run.
//!
//! The events of a lane begin in the order they came; the calls of a narrow lane run one at a time,
//! those of a wide one side by side. Opening and closing run alone in either. A lane that was run
//! for a while goes to the end of the processor's queue, so that a busy connection does not starve
//! the others. A full lane does not refuse: its reader waits, and so does the peer.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use crate::call::{Before, Call, Event, Link, Processor, Session};

use mailbox::{LANE_EVENTS, Mailbox, Waiting};
pub use turn::{Hold, Turn};
use turn::{Unharmed, Visit};

mod mailbox;
mod turn;

/// Events of one lane that are run before another lane has its turn.
const TURN_EVENTS: usize = 64;
/// Bytes of requests after which that is so, too.
const TURN_BYTES: usize = 64 * 1024;
/// Events in one visit from which on a lane is a busy one.
const BUSY_EVENTS: usize = 16;

/// The events of one session.
pub struct Lane {
    session: Arc<dyn Session>,
    processor: Arc<Processor>,
    mailbox: Mutex<Mailbox>,
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

impl Lane {
    /// A narrow lane whose events go to `session`.
    #[must_use]
    pub fn new(session: Arc<dyn Session>, processor: Arc<Processor>) -> Arc<Self> {
        Arc::new(Self {
            session,
            processor,
            mailbox: Mutex::new(Mailbox::new()),
        })
    }

    fn mailbox(&self) -> MutexGuard<'_, Mailbox> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the calls of this lane run side by side. Where calls can be refused, the reader never
    /// pauses: what else it reads may be what a handler waits for.
    pub fn widen(&self, refuses: bool) {
        let mut mailbox = self.mailbox();
        mailbox.width = LANE_EVENTS;
        if refuses {
            (mailbox.width, mailbox.depth, mailbox.depth_bytes) =
                (usize::MAX, usize::MAX, usize::MAX);
        }
    }

    /// How many calls wait, and how many bytes they have.
    pub fn waiting(&self) -> (usize, usize) {
        let mailbox = self.mailbox();
        (mailbox.calls, mailbox.bytes)
    }

    /// The same once those that ended while they waited are thrown out.
    pub fn waiting_swept(&self) -> (usize, usize) {
        self.mailbox().sweep();
        self.waiting()
    }

    /// Whether a call waits whose request may take long to read.
    pub(super) fn is_heavy(&self) -> bool {
        self.mailbox().heavy > 0
    }

    /// Begins no call until [`Lane::resume`].
    pub fn pause(&self) {
        self.mailbox().paused = true;
    }

    /// Begins calls again. How long those that are here have waited shows nothing.
    pub fn resume(self: &Arc<Self>) {
        let mut mailbox = self.mailbox();
        mailbox.paused = false;
        for event in &mailbox.events {
            if let Waiting::Call(call) = event {
                call.ticket.held_back();
            }
        }
        self.offer(mailbox);
    }

    /// Adds events of `link` to the end of the lane.
    pub fn push(self: &Arc<Self>, link: &Arc<dyn Link>, events: impl IntoIterator<Item = Event>) {
        let mut mailbox = self.mailbox();
        for event in events {
            mailbox.add(Waiting::new(link, event));
        }
        // From time to time.
        if mailbox.events.len() >= mailbox.sweep_at {
            mailbox.sweep();
        }
        self.offer(mailbox);
    }

    /// Has a worker come if there is something to begin.
    fn offer(self: &Arc<Self>, mailbox: MutexGuard<'_, Mailbox>) {
        let before = mailbox.before;
        self.enqueue(mailbox, before);
    }

    /// The same for what a visit leaves to the next one.
    fn offer_rest(self: &Arc<Self>, mailbox: MutexGuard<'_, Mailbox>) {
        self.enqueue(mailbox, Before::More);
    }

    fn enqueue(self: &Arc<Self>, mut mailbox: MutexGuard<'_, Mailbox>, before: Before) {
        if mailbox.is_ready() && !mailbox.queued {
            mailbox.queued = true;
            drop(mailbox);
            self.processor.enqueue(Arc::clone(self), before);
        }
    }

    /// Ready when the lane takes more; otherwise the task is woken when it does.
    pub fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut mailbox = self.mailbox();
        if mailbox.is_full() {
            mailbox.reader = Some(context.waker().clone());
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    /// Runs events for one visit; called by the worker that was given the lane.
    pub fn run(self: &Arc<Self>) {
        self.run_until(|| false);
    }

    /// The same; the visit also ends with an event after which `enough` says so.
    pub fn run_until(self: &Arc<Self>, mut enough: impl FnMut() -> bool) {
        self.processor.begin();
        let mut visit = Visit {
            lane: self,
            before: None,
        };
        let mut mailbox = self.mailbox();
        mailbox.queued = false;
        let (mut taken, mut last) = (0, None::<Arc<dyn Link>>);
        for ran in 1..=TURN_EVENTS {
            let Some(event) = self.begin(mailbox) else {
                break;
            };
            taken += event.weight().1;
            // Most lanes have one.
            let link = match &last {
                Some(link) if Arc::ptr_eq(link, event.link()) => link,
                _ => last.insert(Arc::clone(event.link())),
            };
            let mut turn = Turn {
                lane: self,
                over: false,
            };
            let _unharmed = Unharmed(link);
            self.session.handle(link, event.into_event(), &mut turn);
            // The next one begins under the same lock.
            mailbox = turn.end();
            let over = taken >= TURN_BYTES || enough();
            visit.before = Some(if over || ran >= BUSY_EVENTS {
                Before::More
            } else {
                Before::Nothing
            });
            if over {
                break;
            }
        }
    }

    /// Takes the first event if it may begin. Where more may begin beside it, another worker comes
    /// for that: this one may be gone for long.
    fn begin(self: &Arc<Self>, mut mailbox: MutexGuard<'_, Mailbox>) -> Option<Waiting> {
        if !mailbox.is_ready() {
            return None;
        }
        let event = mailbox.take_first()?;
        if let Waiting::Call(call) = &event {
            call.ticket.begin();
        }
        let reader = mailbox.wake_reader();
        self.offer_rest(mailbox);
        if let Some(reader) = reader {
            reader.wake();
        }
        Some(event)
    }

    /// One event less runs; says what that leaves.
    fn end(&self) -> MutexGuard<'_, Mailbox> {
        let mut mailbox = self.mailbox();
        mailbox.running -= 1;
        // What runs alone may be held by several.
        mailbox.exclusive &= mailbox.running > 0;
        if mailbox.is_idle()
            && let Some(idler) = mailbox.idler.take()
        {
            idler.wake();
        }
        mailbox
    }

    /// Takes out the calls that wait; other events stay.
    pub fn take_calls(&self) -> Vec<Call> {
        let mut mailbox = self.mailbox();
        let mut calls = Vec::with_capacity(mailbox.calls);
        for event in std::mem::take(&mut mailbox.events) {
            match event {
                Waiting::Call(call) => calls.push(call),
                other @ Waiting::Other(..) => mailbox.events.push_back(other),
            }
        }
        mailbox.calls = 0;
        mailbox.bytes = 0;
        mailbox.heavy = 0;
        let reader = mailbox.wake_reader();
        drop(mailbox);
        if let Some(reader) = reader {
            reader.wake();
        }
        calls
    }

    /// How many lanes wait for a turn, this one among them if it does.
    pub fn lanes_waiting(&self) -> usize {
        self.processor.lanes_waiting()
    }

    /// How many calls wait.
    pub fn queued_calls(&self) -> usize {
        self.mailbox().calls
    }

    /// Ready when nothing waits and nothing runs; otherwise the task is woken when that is so.
    pub fn poll_idle(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut mailbox = self.mailbox();
        if mailbox.is_idle() {
            Poll::Ready(())
        } else {
            mailbox.idler = Some(context.waker().clone());
            Poll::Pending
        }
    }

    /// Whether nothing waits and nothing runs.
    pub fn is_idle(&self) -> bool {
        self.mailbox().is_idle()
    }
}

#[cfg(test)]
mod tests;
