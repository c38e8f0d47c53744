//! Whose turn it is: lanes that have something to run, in an order in which nobody waits for long.
//!
//! A lane that had nothing goes before those that had their turn and have more, so that who calls
//! now and then does not wait behind who calls all the time (`fq_codel`, RFC 8290, does so with
//! packets of sparse flows). Those get their share all the same.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::call::Lane;

/// Lanes that had nothing which go before one of the others at most.
const STREAK: u32 = 8;

/// What a lane had to run before it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// Nothing, or little.
    Nothing,
    /// More than it was given a turn for, or as much as makes a long one.
    More,
}

/// Lanes in the order in which they are taken.
#[derive(Debug, Default)]
pub(super) struct Turns {
    fresh: VecDeque<Arc<Lane>>,
    again: VecDeque<Arc<Lane>>,
    /// Those that an event loop left to workers.
    set_aside: VecDeque<(Arc<Lane>, Before)>,
    streak: u32,
}

impl Turns {
    pub(super) fn is_empty(&self) -> bool {
        self.set_aside.is_empty() && !self.has_light()
    }

    /// Whether there are some that were not set aside.
    pub(super) fn has_light(&self) -> bool {
        !self.fresh.is_empty() || !self.again.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.fresh.len() + self.again.len() + self.set_aside.len()
    }

    pub(super) fn push(&mut self, lane: Arc<Lane>, before: Before) {
        match before {
            Before::Nothing => self.fresh.push_back(lane),
            Before::More => self.again.push_back(lane),
        }
    }

    /// Leaves a lane to workers.
    pub(super) fn set_aside(&mut self, lane: Arc<Lane>, before: Before) {
        self.set_aside.push_back((lane, before));
    }

    /// The next one for a worker.
    pub(super) fn next(&mut self) -> Option<(Arc<Lane>, Before)> {
        self.set_aside.pop_front().or_else(|| self.next_light())
    }

    /// The next one that was not set aside.
    pub(super) fn next_light(&mut self) -> Option<(Arc<Lane>, Before)> {
        if (self.streak < STREAK || self.again.is_empty())
            && let Some(lane) = self.fresh.pop_front()
        {
            self.streak += 1;
            return Some((lane, Before::Nothing));
        }
        self.streak = 0;
        let lane = self.again.pop_front()?;
        Some((lane, Before::More))
    }
}
