//! The pending table: the calls of one connection that wait for their answers.
//!
//! It has five verbs: insert, complete, cancel, expire, fail all. Whatever is inserted comes out
//! by exactly one of the other four.

use std::collections::VecDeque;
use std::time::Instant;

use foldhash::{HashMap, HashMapExt as _};

use crate::call::Deadlines;
use crate::status::Status;

#[derive(Debug)]
struct Slot<T> {
    /// `None` when nobody waits any more and only the place in the order is kept.
    waiter: Option<T>,
    deadline: Option<Instant>,
}

/// Why a call was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotTaken {
    /// The connection is gone.
    Failed(Status),
    /// As many calls wait as may.
    Full(usize),
}

/// Whose answer came.
#[derive(Debug, PartialEq, Eq)]
pub enum Completed<T> {
    /// Somebody waits for it.
    Waiter(T),
    /// Nobody does: the call has ended already, or there never was one.
    Nobody,
    /// It carries another id than that of the call whose turn it is.
    OutOfOrder {
        /// The id of that call; `None` when no call waits.
        expected: Option<u64>,
    },
}

/// Calls that wait for answers, by id or in the order in which they were made.
#[derive(Debug)]
pub struct Pending<T> {
    slots: HashMap<u64, Slot<T>>,
    deadlines: Deadlines<u64>,
    /// The order of the calls, where answers come in it.
    order: Option<VecDeque<u64>>,
    largest_id: u64,
    last_id: u64,
    capacity: usize,
    failed: Option<Status>,
}

impl<T> Pending<T> {
    /// A table for `capacity` calls with ids from 0 to `largest_id`; answers come in any order or,
    /// with `in_order`, in that of the calls.
    #[must_use]
    pub fn new(in_order: bool, largest_id: u64, capacity: usize) -> Self {
        Self {
            slots: HashMap::new(),
            deadlines: Deadlines::default(),
            order: in_order.then(VecDeque::new),
            largest_id,
            last_id: 0,
            capacity,
            failed: None,
        }
    }

    /// Gives ids above `id` from now on, as long as there are any.
    #[must_use]
    pub fn above(mut self, id: u64) -> Self {
        self.last_id = id;
        self
    }

    /// How many places are taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no place is taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// When the next call runs out of time.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// The next id that no waiting call has.
    fn fresh_id(&mut self) -> u64 {
        loop {
            self.last_id = if self.last_id >= self.largest_id {
                1.min(self.largest_id)
            } else {
                self.last_id + 1
            };
            if !self.slots.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }

    /// Gives a call a place: its id, and whether its deadline is now the next one.
    ///
    /// # Errors
    /// The connection is gone or too many calls wait; the waiter is given back.
    pub fn insert(
        &mut self,
        deadline: Option<Instant>,
        waiter: T,
    ) -> Result<(u64, bool), (NotTaken, T)> {
        if let Some(status) = &self.failed {
            return Err((NotTaken::Failed(status.clone()), waiter));
        }
        let most = usize::try_from(self.largest_id).unwrap_or(usize::MAX);
        if self.slots.len() >= self.capacity.min(most) {
            return Err((NotTaken::Full(self.slots.len()), waiter));
        }
        let id = self.fresh_id();
        let waiter = Some(waiter);
        self.slots.insert(id, Slot { waiter, deadline });
        if let Some(order) = &mut self.order {
            order.push_back(id);
        }
        let next = deadline.is_some_and(|deadline| self.deadlines.insert(deadline, id));
        Ok((id, next))
    }

    /// Takes out the call whose answer came; `id` is what the answer carries.
    pub fn complete(&mut self, id: Option<u64>) -> Completed<T> {
        let id = match &mut self.order {
            None => id,
            Some(order) => {
                let expected = order.front().copied();
                if expected.is_none() || id.is_some_and(|id| expected != Some(id)) {
                    return Completed::OutOfOrder { expected };
                }
                order.pop_front()
            }
        };
        let taken = id.and_then(|id| Some((id, self.slots.remove(&id)?)));
        let Some((id, slot)) = taken else {
            return Completed::Nobody;
        };
        if let Some(deadline) = slot.deadline {
            self.deadlines.remove(deadline, id);
        }
        slot.waiter.map_or(Completed::Nobody, Completed::Waiter)
    }

    /// Takes out a call that nobody waits for any more; `None` when it has ended.
    pub fn cancel(&mut self, id: u64) -> Option<T> {
        let slot = self.slots.get_mut(&id)?;
        let waiter = slot.waiter.take()?;
        if let Some(deadline) = slot.deadline.take() {
            self.deadlines.remove(deadline, id);
        }
        self.give_up(id);
        Some(waiter)
    }

    /// Takes out a call whose time is up.
    pub fn expire(&mut self, now: Instant) -> Option<T> {
        let id = self.deadlines.pop_due(now)?;
        let slot = self.slots.get_mut(&id)?;
        slot.deadline = None;
        let waiter = slot.waiter.take();
        self.give_up(id);
        waiter
    }

    /// Takes back a call that was never sent, the last one most likely; `None` when it has ended.
    pub fn withdraw(&mut self, id: u64) -> Option<T> {
        let waiter = self.cancel(id);
        self.slots.remove(&id);
        if let Some(order) = &mut self.order {
            // From the end, where it is.
            let place = order.iter().rposition(|&other| other == id);
            place.and_then(|place| order.remove(place));
        }
        waiter
    }

    /// Frees the place, unless an answer will come for it that must not be taken for another's.
    fn give_up(&mut self, id: u64) {
        if self.order.is_none() {
            self.slots.remove(&id);
        }
    }

    /// Takes out all calls, by id; nothing more is taken in.
    pub fn fail_all(&mut self, status: Status) -> Vec<(u64, T)> {
        self.failed.get_or_insert(status);
        self.deadlines.clear();
        if let Some(order) = &mut self.order {
            order.clear();
        }
        let mut failed: Vec<_> = self
            .slots
            .drain()
            .filter_map(|(id, slot)| Some((id, slot.waiter?)))
            .collect();
        failed.sort_unstable_by_key(|&(id, _)| id);
        failed
    }
}

#[cfg(test)]
mod tests;
