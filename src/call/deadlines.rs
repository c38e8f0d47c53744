//! Deadlines of many things, the next one first.

use std::collections::BTreeSet;
use std::time::Instant;

/// Keys and when each of them is due.
#[derive(Debug)]
pub struct Deadlines<K> {
    due: BTreeSet<(Instant, K)>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self {
            due: BTreeSet::new(),
        }
    }
}

impl<K: Ord + Copy> Deadlines<K> {
    /// Adds one, and says whether it comes before all others, so that whoever waits for the next
    /// one must wait anew.
    pub fn insert(&mut self, deadline: Instant, key: K) -> bool {
        let before = self.next();
        self.due.insert((deadline, key));
        before.is_none_or(|next| deadline < next)
    }

    /// Takes one out that was inserted with this deadline.
    pub fn remove(&mut self, deadline: Instant, key: K) {
        self.due.remove(&(deadline, key));
    }

    /// When the next one is due.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.due.first().map(|&(deadline, _)| deadline)
    }

    /// Takes one out that is due at `now`.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        self.due.pop_first().map(|(_, key)| key)
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        self.due.clear();
    }
}
