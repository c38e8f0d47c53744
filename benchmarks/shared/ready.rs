//! The connections that may be read, in turns.
//!
//! Epoll is used edge-triggered: a connection that was not read dry is not named again, so it is
//! kept here. It takes its next turn after all others have had theirs.

use std::collections::VecDeque;

#[derive(Debug, Default)]
pub(crate) struct Ready {
    queue: VecDeque<usize>,
    queued: Vec<bool>,
}

impl Ready {
    /// Adds a connection, once.
    pub(crate) fn add(&mut self, place: usize) {
        if place >= self.queued.len() {
            self.queued.resize(place + 1, false);
        }
        if !self.queued[place] {
            self.queued[place] = true;
            self.queue.push_back(place);
        }
    }

    pub(crate) fn take(&mut self) -> Option<usize> {
        let place = self.queue.pop_front()?;
        self.queued[place] = false;
        Some(place)
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }
}
