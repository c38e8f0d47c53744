//! Frames of which only a part has come: since when the rest is waited for, and how much they hold
//! in all.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use slab::Slab;
use tokio::time::Instant;

use crate::call::{CloseKind, CloseReason, Link as _, RejectReason};
use crate::net::connection::{Connection, locked};

/// Of a connection that waits for no rest.
const NOWHERE: usize = usize::MAX;
/// Room for parts that is kept while there are none.
const SPARE_PARTS: usize = 64;

/// The beginning of a frame.
#[derive(Debug)]
struct Part {
    connection: Weak<Connection>,
    bytes: usize,
    /// When the last of them came.
    since: Instant,
}

#[derive(Debug, Default)]
struct Parts {
    each: Slab<Part>,
    bytes: usize,
}

/// The unfinished frames of all connections of a server, or of a channel.
#[derive(Debug)]
pub struct Unfinished {
    most: usize,
    parts: Mutex<Parts>,
}

/// Where the unfinished frame of one connection is noted; changed under the lock of [`Unfinished`].
#[derive(Debug)]
pub(super) struct Noted(AtomicUsize);

impl Default for Noted {
    fn default() -> Self {
        Self(AtomicUsize::new(NOWHERE))
    }
}

impl Parts {
    fn note(&mut self, noted: &Noted, part: Part) {
        self.forget(noted);
        self.bytes += part.bytes;
        noted.0.store(self.each.insert(part), Ordering::Relaxed);
    }

    fn forget(&mut self, noted: &Noted) {
        let place = noted.0.swap(NOWHERE, Ordering::Relaxed);
        if let Some(part) = self.each.try_remove(place) {
            self.bytes -= part.bytes;
        }
        if self.each.is_empty() && self.each.capacity() > SPARE_PARTS {
            self.each = Slab::new();
        }
    }

    /// The connection that waits the longest, unless it is the only one: no frame is too large by
    /// itself that is within the limit of its protocol.
    fn longest(&self) -> Option<Arc<Connection>> {
        let others = self.each.iter().filter(|_| self.each.len() > 1);
        let longest = others.min_by_key(|(_, part)| part.since);
        longest.and_then(|(_, part)| part.connection.upgrade())
    }
}

impl Unfinished {
    /// None yet, and at most so many bytes of them in all.
    #[must_use]
    pub fn of(most: usize) -> Self {
        let parts = Mutex::default();
        Self { most, parts }
    }

    /// How many bytes they hold.
    pub fn bytes(&self) -> usize {
        locked(&self.parts).bytes
    }

    /// Takes out those that wait the longest until the rest is within the bound.
    fn excess(&self, parts: &mut Parts) -> Vec<Arc<Connection>> {
        let mut excess = Vec::new();
        while parts.bytes > self.most
            && let Some(connection) = parts.longest()
        {
            parts.forget(&connection.noted);
            excess.push(connection);
        }
        excess
    }
}

impl Connection {
    /// So many bytes of a frame are there, and the rest is waited for. Where all connections hold
    /// too much of such, those that have waited the longest are let go.
    pub(super) fn await_rest(&self, bytes: usize) {
        let unfinished = &self.terms.unfinished;
        let part = Part {
            connection: self.weak(),
            bytes,
            since: Instant::now(),
        };
        let excess = {
            let mut parts = locked(&unfinished.parts);
            parts.note(&self.noted, part);
            unfinished.excess(&mut parts)
        };
        for connection in excess {
            let most = unfinished.most;
            let text = format!(
                "it waited the longest for the rest of a frame when all connections held more than \
                 {most} bytes of such, max_unfinished_bytes"
            );
            let kind = CloseKind::Rejected(RejectReason::UnfinishedBytes);
            connection.abort(CloseReason::new(kind, text));
        }
    }

    /// More has come of a frame, or nothing will.
    pub(super) fn rest_came(&self) {
        if self.noted.0.load(Ordering::Relaxed) != NOWHERE {
            locked(&self.terms.unfinished.parts).forget(&self.noted);
        }
    }

    /// Since when the rest of a frame is waited for.
    pub(super) fn waits_for_rest_since(&self) -> Option<Instant> {
        if self.noted.0.load(Ordering::Relaxed) == NOWHERE {
            return None;
        }
        let parts = locked(&self.terms.unfinished.parts);
        let part = parts.each.get(self.noted.0.load(Ordering::Relaxed))?;
        Some(part.since)
    }
}
