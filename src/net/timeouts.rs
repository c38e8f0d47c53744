//! How long a connection may keep this end waiting, and what is done about one that does.
//!
//! Nothing is armed for a frame or a call. The connection's task looks from time to time: whether
//! anything has stirred since, and since when it waits for the rest of a frame.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::call::{CloseKind, CloseReason, Link as _, RejectReason};
use crate::net::connection::Connection;

/// Parts of `idle` after each of which it is looked whether something has stirred.
const LOOKS: u32 = 8;
/// Time for a peer that was told to move on, before this end closes.
const LEAVE: Duration = Duration::from_secs(1);

/// How long a connection may keep this end waiting.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// Nothing goes over it in either direction, and no call is under way; `None` for no limit.
    pub idle: Option<Duration>,
    /// No byte comes of a frame that has begun to come.
    pub frame: Duration,
    /// The peer takes no byte of those that wait for it.
    pub write: Duration,
}

/// What a connection's task remembers from one look to the next.
#[derive(Debug)]
pub(super) struct Vigil {
    next: Instant,
    /// Nothing has stirred since.
    quiet_since: Instant,
    busy: bool,
    /// The peer was told to move on.
    told: bool,
}

impl Timeouts {
    /// How long may pass between two looks. None of them comes late: a wait that is not over at one
    /// has a look of its own.
    fn pause(&self) -> Duration {
        let idle = self.idle.map_or(Duration::MAX, |idle| idle / LOOKS);
        self.frame.min(idle).max(Duration::from_millis(1))
    }
}

impl Vigil {
    pub(super) fn new(now: Instant, timeouts: &Timeouts) -> Self {
        Self {
            next: now + timeouts.pause(),
            quiet_since: now,
            busy: false,
            told: false,
        }
    }
}

impl Connection {
    /// Something has gone over the connection.
    pub(super) fn stir(&self) {
        if !self.stirred.load(Ordering::Relaxed) {
            self.stirred.store(true, Ordering::Relaxed);
        }
    }

    /// Looks, if it is time to, whether the peer keeps this end waiting for too long; says when to
    /// look again.
    pub(super) fn look(&self, vigil: &mut Vigil, now: Instant) -> Instant {
        if now >= vigil.next {
            let timeouts = &self.terms.timeouts;
            let due = [self.look_for_rest(now), self.look_for_life(vigil, now)];
            let pause = Some(now + timeouts.pause());
            vigil.next = due
                .into_iter()
                .chain([pause])
                .flatten()
                .min()
                .unwrap_or(now);
        }
        vigil.next
    }

    /// When the rest of a frame must have come.
    fn look_for_rest(&self, now: Instant) -> Option<Instant> {
        let frame = self.terms.timeouts.frame;
        let due = self.waits_for_rest_since()? + frame;
        if due <= now {
            let text = format!(
                "the rest of a frame did not come within {} s",
                frame.as_secs_f64()
            );
            let kind = CloseKind::Rejected(RejectReason::FrameTimeout);
            self.abort(CloseReason::new(kind, text));
            return None;
        }
        Some(due)
    }

    /// When something must have stirred.
    fn look_for_life(&self, vigil: &mut Vigil, now: Instant) -> Option<Instant> {
        let idle = self.terms.timeouts.idle?;
        if !vigil.told && self.ending().is_some() {
            // It ends already, with a patience of its own.
            return None;
        }
        let was_busy = std::mem::replace(&mut vigil.busy, self.is_busy());
        if self.stirred.swap(false, Ordering::Relaxed) && !vigil.told || vigil.busy || was_busy {
            vigil.quiet_since = now;
        }
        if vigil.told {
            if !vigil.busy {
                self.finish(idle_for(idle));
            }
            return Some(now + LEAVE);
        }
        let due = vigil.quiet_since + idle;
        if due > now {
            return Some(due);
        }
        self.end_with(idle_for(idle));
        vigil.told = self.go_away("the connection was idle");
        if !vigil.told {
            self.finish(idle_for(idle));
        }
        Some(now + LEAVE)
    }

    /// Whether anything is under way, in either direction.
    fn is_busy(&self) -> bool {
        !self.is_unoccupied() || !self.is_flushed() || self.runs()
    }
}

fn idle_for(idle: Duration) -> CloseReason {
    let text = format!("nothing went over it for {} s", idle.as_secs_f64());
    CloseReason::new(CloseKind::IdleTimeout, text)
}
