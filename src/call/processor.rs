//! The processor: which lanes have something to run, and who comes to run it.
//!
//! Workers take lanes. One of them may have the lead: it moves bytes while there is nothing to run
//! and runs what these bring by itself, so that nobody need be woken. The others rest, until a
//! tick shows that those who are at work make no progress: a handler sleeps, waits or computes.
//! Then one more comes, which may take the lead; and if that happens again soon, the processor is
//! crowded for a while, and a worker is woken for each lane (`crowding.rs`). Where all handlers are
//! coroutines of one event loop, that leads instead (`hosting.rs`).
//!
//! Not here: threads and the clock. Workers are whoever calls [`Processor::take`], and who keeps
//! time calls [`Processor::tick`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::call::Lane;

pub use crowding::Workforce;
use crowding::{Come, Crowding, Progress};
use hosting::Hosting;
pub use turns::Before;
use turns::Turns;

mod crowding;
mod hosting;
mod turns;

/// The queue of lanes that have something to run.
#[derive(Debug, Default)]
pub struct Processor {
    queue: Mutex<Queue>,
    filled: Condvar,
    /// Workers that visit a lane.
    at_work: AtomicU64,
    /// Events that workers have left, ended or held, so far.
    left: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    lanes: Turns,
    stopped: bool,
    /// The worker that looks at the queue without being woken.
    leader: Option<WorkerId>,
    /// Tells it, while it moves bytes.
    waker: Option<Waker>,
    /// Whether none leads, and a worker is woken for each lane.
    crowding: Crowding,
    /// The event loop that leads when it can.
    hosting: Hosting,
}

/// One worker of all there are.
pub type WorkerId = u64;

/// What woke a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// There may be something to run.
    Filled,
    /// Nothing more will come.
    Stopped,
}

impl Processor {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a lane with something to run, if there is one.
    pub fn take(&self) -> Option<Arc<Lane>> {
        self.take_turn().map(|(lane, _)| lane)
    }

    /// The same, with what the lane had to run before it came.
    pub fn take_turn(&self) -> Option<(Arc<Lane>, Before)> {
        self.queue().lanes.next()
    }

    /// How many lanes wait for their turn.
    #[must_use]
    pub fn lanes_waiting(&self) -> usize {
        self.queue().lanes.len()
    }

    /// Whether there is something to run.
    #[must_use]
    pub fn is_filled(&self) -> bool {
        !self.queue().lanes.is_empty()
    }

    /// Waits until there is something to run, or nothing more will come.
    pub fn rest(&self) -> Woken {
        let queue = self
            .filled
            .wait_while(self.queue(), |queue| {
                queue.lanes.is_empty() && !queue.stopped
            })
            .unwrap_or_else(PoisonError::into_inner);
        queue.woken()
    }

    /// Makes `worker` the leader unless another is, or goes on to be it: from now on nobody is
    /// woken for what comes, since the leader looks at the queue before it rests.
    pub fn lead(&self, worker: WorkerId) -> bool {
        let mut queue = self.queue();
        if queue.crowding.is_crowded() || queue.stopped || queue.hosting.is_hosted() {
            queue.give_up(worker);
            return false;
        }
        *queue.leader.get_or_insert(worker) == worker
    }

    /// For the leader: ready when there is something to run, or nothing more will come.
    pub fn poll_filled(&self, context: &mut Context<'_>) -> Poll<Woken> {
        let mut queue = self.queue();
        if queue.hosting.is_hosted() {
            // It leads no more.
            return Poll::Ready(Woken::Filled);
        }
        if queue.lanes.is_empty() && !queue.stopped {
            queue.waker = Some(context.waker().clone());
            Poll::Pending
        } else {
            queue.waker = None;
            Poll::Ready(queue.woken())
        }
    }

    /// `worker` looks no more before somebody wakes it: it does not drive after all, or is about
    /// to wait for something else in the middle of its work.
    pub fn stand_aside(&self, worker: WorkerId) {
        let mut queue = self.queue();
        queue.give_up(worker);
        let left = !queue.lanes.is_empty();
        drop(queue);
        if left {
            self.filled.notify_one();
        }
    }

    /// Lets workers go once nothing is left to run.
    pub fn stop(&self) {
        let mut queue = self.queue();
        queue.stopped = true;
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
        self.filled.notify_all();
    }

    pub(super) fn enqueue(&self, lane: Arc<Lane>, before: Before) {
        let mut queue = self.queue();
        queue.lanes.push(lane, before);
        let (waker, led) = (queue.waker.take(), queue.leader.is_some());
        drop(queue);
        match waker {
            Some(waker) => waker.wake(),
            None if led => {}
            None => self.filled.notify_one(),
        }
    }

    /// A worker begins to visit a lane.
    pub(super) fn begin(&self) {
        self.at_work.fetch_add(1, Ordering::Relaxed);
    }

    /// A visit ends.
    pub(super) fn end(&self) {
        self.at_work.fetch_sub(1, Ordering::Relaxed);
    }

    /// A worker leaves an event.
    pub(super) fn leave(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    /// How many events workers have left so far.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    /// Whether nothing waits and no leader is at work, so that ticks may cease.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let queue = self.queue();
        queue.lanes.is_empty() && (queue.leader.is_none() || queue.waker.is_some())
    }

    /// Has more workers come if those who are at work hardly get on while lanes wait, and others
    /// would get on better. Says whether there was progress, or nobody is at work.
    pub fn tick(&self, now: Instant, workforce: &impl Workforce) -> bool {
        let mut queue = self.queue();
        let progress = Progress {
            left: self.left(),
            at_work: self.at_work.load(Ordering::Relaxed),
        };
        let lanes = queue.lanes.len();
        let (moves, mut come) = queue.crowding.tick(now, progress, lanes > 0, workforce);
        if queue.is_missed(progress) {
            come = come.max(Come::One);
        }
        if come != Come::Nobody {
            queue.leader = None;
        }
        drop(queue);
        let more = match come {
            Come::Nobody => 0,
            Come::One => 1,
            Come::Each => lanes,
        };
        for _ in 0..more {
            self.filled.notify_one();
        }
        moves
    }
}

impl Queue {
    fn give_up(&mut self, worker: WorkerId) {
        if self.leader == Some(worker) {
            self.leader = None;
            self.waker = None;
        }
    }

    fn woken(&self) -> Woken {
        if self.lanes.is_empty() {
            Woken::Stopped
        } else {
            Woken::Filled
        }
    }
}

#[cfg(test)]
mod tests;
