//! What a worker has of a lane: a visit, in which each event has its turn, which may be held.

use std::sync::{Arc, MutexGuard};
use std::thread;

use crate::call::lane::{Lane, Mailbox};
use crate::call::{Before, CloseReason, Link};

/// A worker's visit to a lane. What it leaves behind, also when a session panics, is for another.
pub(super) struct Visit<'a> {
    pub(super) lane: &'a Arc<Lane>,
    /// What the next one comes after, once something was run.
    pub(super) before: Option<Before>,
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.lane.processor.end();
        let mut mailbox = self.lane.mailbox();
        mailbox.before = self.before.unwrap_or(mailbox.before);
        self.lane.offer_rest(mailbox);
    }
}

/// Ends a connection whose session panics: nobody knows what that has left undone.
pub(super) struct Unharmed<'a>(pub(super) &'a Arc<dyn Link>);

impl Drop for Unharmed<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.abort(CloseReason::fault());
        }
    }
}

/// The turn of one event. It ends when this and all holds of it are dropped (so also when a session
/// panics).
#[derive(Debug)]
pub struct Turn<'a> {
    pub(super) lane: &'a Arc<Lane>,
    pub(super) over: bool,
}

impl<'a> Turn<'a> {
    pub(super) fn end(mut self) -> MutexGuard<'a, Mailbox> {
        self.over = true;
        self.lane.processor.leave();
        self.lane.end()
    }

    /// Lets the turn go on until the hold is dropped; the worker goes elsewhere.
    pub fn hold(&mut self) -> Hold {
        // One more that must end.
        self.lane.mailbox().running += 1;
        Hold {
            lane: Arc::clone(self.lane),
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.lane.processor.leave();
            // What may begin now is for the visit to offer.
            drop(self.lane.end());
        }
    }
}

/// A turn that outlasts the worker's visit; ends when dropped, on any thread.
#[derive(Debug)]
pub struct Hold {
    lane: Arc<Lane>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.lane.offer(self.lane.end());
    }
}
