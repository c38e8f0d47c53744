//! An event loop that leads: it runs the handlers anyhow, so it looks itself for what has come, and
//! nobody need be woken, nor the interpreter's lock be handed over.
//!
//! It has other things to do, and comes when it can: when the poller has something, or when its bell
//! rings. Workers rest meanwhile. What would keep it for long is left to them, and so is all the
//! rest where it does not come: then things are as if there were no such leader.

use std::mem;
use std::sync::Arc;
use std::task::Waker;

use crate::call::processor::{Processor, Progress, Queue, WorkerId};
use crate::call::{Before, Lane};

/// The event loop among those that lead.
const HOST: WorkerId = WorkerId::MAX;
/// Ticks at which lanes waited for it and nothing moved, after which a worker comes.
const MISSED_TICKS: u32 = 2;

/// The event loop that leads when it can.
#[derive(Debug, Default)]
pub(super) struct Hosting {
    /// Wakes it; none where there is no such loop.
    bell: Option<Waker>,
    /// Events that were left, at the last tick.
    left: u64,
    /// How many ticks it has been missed.
    missed: u32,
}

impl Hosting {
    /// Whether there is one, so that no worker leads.
    pub(super) fn is_hosted(&self) -> bool {
        self.bell.is_some()
    }
}

impl Queue {
    /// Whether lanes wait in vain for an event loop.
    pub(super) fn is_missed(&mut self, progress: Progress) -> bool {
        let left = mem::replace(&mut self.hosting.left, progress.left);
        let waits = self.leader == Some(HOST) && !self.lanes.is_empty();
        if !waits || progress.at_work > 0 || left != progress.left {
            self.hosting.missed = 0;
            return false;
        }
        self.hosting.missed += 1;
        self.hosting.missed >= MISSED_TICKS
    }
}

impl Processor {
    /// Has an event loop lead from now on, when it can; `bell` wakes it.
    pub fn host(&self, bell: Waker) {
        let mut queue = self.queue();
        queue.hosting.bell = Some(bell.clone());
        queue.leader = Some(HOST);
        let waker = queue.waker.replace(bell);
        let left = !queue.lanes.is_empty();
        drop(queue);
        // Whoever has led finds that it leads no more.
        if let Some(waker) = waker {
            waker.wake();
        }
        if left {
            self.filled.notify_one();
        }
    }

    /// The event loop is gone; workers lead again.
    pub fn unhost(&self) {
        self.queue().hosting = Hosting::default();
        self.stand_aside(HOST);
    }

    /// The event loop comes, and looks before it goes.
    pub fn host_comes(&self) {
        let mut queue = self.queue();
        if queue.hosting.is_hosted() && !queue.crowding.is_crowded() && !queue.stopped {
            queue.waker = None;
            queue.leader = Some(HOST);
        }
    }

    /// Takes a lane for the event loop, if there is one. One that may keep it for long is left to a
    /// worker.
    pub fn take_as_host(&self) -> Option<Arc<Lane>> {
        loop {
            let (lane, before) = self.queue().lanes.next_light()?;
            if !lane.is_heavy() {
                return Some(lane);
            }
            self.leave_to_worker(lane, before);
        }
    }

    fn leave_to_worker(&self, lane: Arc<Lane>, before: Before) {
        self.queue().lanes.set_aside(lane, before);
        self.filled.notify_one();
    }

    /// The event loop goes; it is told when it is to come again, which may be now.
    pub fn host_goes(&self) {
        let mut queue = self.queue();
        if queue.leader != Some(HOST) {
            return;
        }
        let bell = queue.hosting.bell.clone();
        if queue.lanes.has_light() {
            drop(queue);
            if let Some(bell) = bell {
                bell.wake();
            }
        } else {
            queue.waker = bell;
        }
    }
}

#[cfg(test)]
mod tests;
