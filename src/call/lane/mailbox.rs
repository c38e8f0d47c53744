//! What waits in a lane, how much of it, and whether the first may begin.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use crate::call::{Before, Call, Event, Link};

/// Events that wait in one lane at most before its reader must pause, where nobody else bounds
/// them.
pub(super) const LANE_EVENTS: usize = 1024;
/// Bytes of requests that wait in one lane at most before its reader must pause.
pub(super) const LANE_BYTES: usize = 4 * 1024 * 1024;
/// Events in one lane from which on it is looked whether some have ended.
pub(super) const SWEEP_EVENTS: usize = 256;
/// An event that waits. A call knows its link itself, and there are many of them.
#[derive(Debug)]
pub(super) enum Waiting {
    Call(Call),
    Other(Arc<dyn Link>, Event),
}

/// The events of a lane that wait, and what keeps them waiting.
#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) events: VecDeque<Waiting>,
    pub(super) bytes: usize,
    pub(super) calls: usize,
    /// Calls among them whose requests may take long to read.
    pub(super) heavy: usize,
    /// Calls that may run at once.
    pub(super) width: usize,
    /// Events that may wait before the reader must pause.
    pub(super) depth: usize,
    /// Bytes that may.
    pub(super) depth_bytes: usize,
    /// How many events there are when it is next looked whether some have ended.
    pub(super) sweep_at: usize,
    /// No call begins for now: the peer does not read its answers.
    pub(super) paused: bool,
    /// Events that run, and holds of turns.
    pub(super) running: usize,
    /// What runs runs alone.
    pub(super) exclusive: bool,
    /// The lane is in the processor's queue.
    pub(super) queued: bool,
    /// What it comes after: one whose last visit was a long one does not come anew when it ran out
    /// of events in between.
    pub(super) before: Before,
    /// Who waits for room.
    pub(super) reader: Option<Waker>,
    /// Who waits for the end.
    pub(super) idler: Option<Waker>,
}

impl Waiting {
    pub(super) fn new(link: &Arc<dyn Link>, event: Event) -> Self {
        match event {
            Event::Call(call) => Self::Call(call),
            event => Self::Other(Arc::clone(link), event),
        }
    }

    pub(super) fn link(&self) -> &Arc<dyn Link> {
        match self {
            Self::Call(call) => call.ticket.link(),
            Self::Other(link, _) => link,
        }
    }

    pub(super) fn into_event(self) -> Event {
        match self {
            Self::Call(call) => Event::Call(call),
            Self::Other(_, event) => event,
        }
    }

    /// How many calls and bytes of them it is.
    pub(super) fn weight(&self) -> (usize, usize) {
        match self {
            Self::Call(call) => (1, call.weight()),
            Self::Other(..) => (0, 0),
        }
    }

    fn is_heavy(&self) -> bool {
        matches!(self, Self::Call(call) if call.is_heavy())
    }

    pub(super) fn runs_alone(&self) -> bool {
        matches!(self, Self::Other(..))
    }
}

impl Mailbox {
    /// That of a narrow lane.
    pub(super) fn new() -> Self {
        Self {
            events: VecDeque::new(),
            bytes: 0,
            calls: 0,
            heavy: 0,
            width: 1,
            depth: LANE_EVENTS,
            depth_bytes: LANE_BYTES,
            sweep_at: SWEEP_EVENTS,
            paused: false,
            running: 0,
            exclusive: false,
            queued: false,
            before: Before::Nothing,
            reader: None,
            idler: None,
        }
    }

    /// Adds an event to the end.
    pub(super) fn add(&mut self, event: Waiting) {
        let (calls, bytes) = event.weight();
        self.calls += calls;
        self.bytes += bytes;
        self.heavy += usize::from(event.is_heavy());
        self.events.push_back(event);
    }

    /// Takes the first event, which begins.
    pub(super) fn take_first(&mut self) -> Option<Waiting> {
        let event = self.events.pop_front()?;
        self.running += 1;
        self.exclusive = event.runs_alone();
        let (calls, bytes) = event.weight();
        self.calls -= calls;
        self.bytes -= bytes;
        self.heavy -= usize::from(event.is_heavy());
        Some(event)
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= self.depth_bytes || self.events.len() >= self.depth
    }

    /// Whether the first event may begin.
    pub(super) fn is_ready(&self) -> bool {
        match self.events.front() {
            None => false,
            Some(event) if event.runs_alone() => self.running == 0,
            Some(_) => !self.exclusive && !self.paused && self.running < self.width,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.events.is_empty() && self.running == 0
    }

    /// Throws out calls that ended while they waited.
    pub(super) fn sweep(&mut self) {
        let ended =
            |event: &Waiting| matches!(event, Waiting::Call(call) if call.ticket.is_ended());
        self.events.retain(|event| !ended(event));
        let weights = self.events.iter().map(Waiting::weight);
        (self.calls, self.bytes) = weights.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        self.heavy = self.events.iter().filter(|event| event.is_heavy()).count();
        self.sweep_at = SWEEP_EVENTS.max(self.events.len() * 2);
    }

    /// Wakes the reader once half of the lane is free again, so that it does not wake for each.
    pub(super) fn wake_reader(&mut self) -> Option<Waker> {
        if self.events.len() <= self.depth / 2 && self.bytes <= self.depth_bytes / 2 {
            self.reader.take()
        } else {
            None
        }
    }
}
