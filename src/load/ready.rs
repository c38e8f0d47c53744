//! The connections that may be read, in turns.
//!
//! Epoll is used edge-triggered: a connection that was not read dry is not named again, so it is
//! kept here. It takes its next turn after all others have had theirs.

use std::collections::VecDeque;

/// The connections.
#[derive(Debug, Default)]
pub struct Ready {
    queue: VecDeque<usize>,
    queued: Vec<bool>,
}

impl Ready {
    /// Adds a connection, once.
    pub fn add(&mut self, place: usize) {
        if place >= self.queued.len() {
            self.queued.resize(place + 1, false);
        }
        if !self.queued[place] {
            self.queued[place] = true;
            self.queue.push_back(place);
        }
    }

    /// The one whose turn it is.
    pub fn take(&mut self) -> Option<usize> {
        let place = self.queue.pop_front()?;
        self.queued[place] = false;
        Some(place)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }
}
