//! The processor: which events wait, in what order, and who may run them now.
//!
//! Each connection has a lane. The events of a lane run one at a time in the order they came;
//! lanes run side by side, as many as there are workers. A lane that was run for a while goes to
//! the end of the queue, so that a busy connection does not starve the others. A full lane does
//! not refuse: its reader waits, and so does the peer.
//!
//! Not here: threads. Workers are whoever calls [`Processor::next`] and [`Lane::run`].

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::call::{Event, Link, Session};

/// Events that wait in one lane at most before its reader must pause.
const LANE_EVENTS: usize = 1024;
/// Bytes of requests that wait in one lane at most before its reader must pause.
const LANE_BYTES: usize = 4 * 1024 * 1024;
/// Events of one lane that are run before another lane has its turn.
const TURN_EVENTS: usize = 64;

/// The queue of lanes that have something to run.
#[derive(Debug, Default)]
pub struct Processor {
    queue: Mutex<Queue>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    lanes: VecDeque<Arc<Lane>>,
    stopped: bool,
}

impl Processor {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a lane with something to run; `None` when stopped and nothing is left.
    pub fn next(&self) -> Option<Arc<Lane>> {
        let mut queue = self
            .filled
            .wait_while(self.queue(), |queue| {
                queue.lanes.is_empty() && !queue.stopped
            })
            .unwrap_or_else(PoisonError::into_inner);
        queue.lanes.pop_front()
    }

    /// Lets workers go once nothing is left to run.
    pub fn stop(&self) {
        self.queue().stopped = true;
        self.filled.notify_all();
    }

    fn enqueue(&self, lane: Arc<Lane>) {
        self.queue().lanes.push_back(lane);
        self.filled.notify_one();
    }
}

/// Where a lane stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// Nothing to run.
    Idle,
    /// In the processor's queue.
    Queued,
    /// A worker has it, or somebody holds its turn.
    Taken,
}

#[derive(Debug)]
struct Mailbox {
    events: VecDeque<(Arc<dyn Link>, Event)>,
    bytes: usize,
    calls: usize,
    stand: Stand,
    /// Who waits for room.
    reader: Option<Waker>,
    /// Who waits for the end.
    idler: Option<Waker>,
}

/// The events of one session.
pub struct Lane {
    session: Arc<dyn Session>,
    processor: Arc<Processor>,
    mailbox: Mutex<Mailbox>,
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

fn weight(event: &Event) -> (usize, usize) {
    match event {
        Event::Call(call) => (1, call.body.len()),
        Event::Opened | Event::Closed(_) => (0, 0),
    }
}

impl Mailbox {
    fn is_full(&self) -> bool {
        self.events.len() >= LANE_EVENTS || self.bytes >= LANE_BYTES
    }

    /// Wakes the reader once half of the lane is free again, so that it does not wake for each.
    fn wake_reader(&mut self) -> Option<Waker> {
        let roomy = self.events.len() <= LANE_EVENTS / 2 && self.bytes <= LANE_BYTES / 2;
        if roomy { self.reader.take() } else { None }
    }
}

impl Lane {
    /// A lane whose events go to `session`.
    #[must_use]
    pub fn new(session: Arc<dyn Session>, processor: Arc<Processor>) -> Arc<Self> {
        let mailbox = Mailbox {
            events: VecDeque::new(),
            bytes: 0,
            calls: 0,
            stand: Stand::Idle,
            reader: None,
            idler: None,
        };
        Arc::new(Self {
            session,
            processor,
            mailbox: Mutex::new(mailbox),
        })
    }

    fn mailbox(&self) -> MutexGuard<'_, Mailbox> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds events of `link` to the end of the lane.
    pub fn push(self: &Arc<Self>, link: &Arc<dyn Link>, events: impl IntoIterator<Item = Event>) {
        let mut mailbox = self.mailbox();
        for event in events {
            let (calls, bytes) = weight(&event);
            mailbox.calls += calls;
            mailbox.bytes += bytes;
            mailbox.events.push_back((Arc::clone(link), event));
        }
        if mailbox.stand == Stand::Idle && !mailbox.events.is_empty() {
            mailbox.stand = Stand::Queued;
            drop(mailbox);
            self.processor.enqueue(Arc::clone(self));
        }
    }

    /// Ready when the lane takes more; otherwise the task is woken when it does.
    pub fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut mailbox = self.mailbox();
        if mailbox.is_full() {
            mailbox.reader = Some(context.waker().clone());
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    /// Runs events for one turn; called by the worker that was given the lane.
    pub fn run(self: &Arc<Self>) {
        let mut turn = Turn {
            lane: self,
            held: false,
        };
        for _ in 0..TURN_EVENTS {
            let Some((link, event)) = self.pop() else {
                break;
            };
            self.session.handle(&link, event, &mut turn);
            if turn.held {
                break;
            }
        }
    }

    fn pop(&self) -> Option<(Arc<dyn Link>, Event)> {
        let mut mailbox = self.mailbox();
        mailbox.stand = Stand::Taken;
        let (link, event) = mailbox.events.pop_front()?;
        let (calls, bytes) = weight(&event);
        mailbox.calls -= calls;
        mailbox.bytes -= bytes;
        let reader = mailbox.wake_reader();
        drop(mailbox);
        if let Some(reader) = reader {
            reader.wake();
        }
        Some((link, event))
    }

    fn end_turn(self: &Arc<Self>) {
        let mut mailbox = self.mailbox();
        if mailbox.events.is_empty() {
            mailbox.stand = Stand::Idle;
            let idler = mailbox.idler.take();
            drop(mailbox);
            if let Some(idler) = idler {
                idler.wake();
            }
        } else {
            mailbox.stand = Stand::Queued;
            drop(mailbox);
            self.processor.enqueue(Arc::clone(self));
        }
    }

    /// Throws away the calls that wait and says how many they were; other events stay.
    pub fn discard_calls(&self) -> usize {
        let mut mailbox = self.mailbox();
        let discarded = mailbox.calls;
        mailbox
            .events
            .retain(|(_, event)| !matches!(event, Event::Call(_)));
        mailbox.calls = 0;
        mailbox.bytes = 0;
        let reader = mailbox.wake_reader();
        drop(mailbox);
        if let Some(reader) = reader {
            reader.wake();
        }
        discarded
    }

    /// How many calls wait.
    pub fn queued_calls(&self) -> usize {
        self.mailbox().calls
    }

    /// Ready when nothing waits and nothing runs; otherwise the task is woken when that is so.
    pub fn poll_idle(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut mailbox = self.mailbox();
        if mailbox.stand == Stand::Idle {
            Poll::Ready(())
        } else {
            mailbox.idler = Some(context.waker().clone());
            Poll::Pending
        }
    }

    /// Whether nothing waits and nothing runs.
    pub fn is_idle(&self) -> bool {
        self.mailbox().stand == Stand::Idle
    }
}

/// A worker's turn at a lane. It ends when dropped (so also when a session panics), unless
/// somebody took a hold of it.
#[derive(Debug)]
pub struct Turn<'a> {
    lane: &'a Arc<Lane>,
    held: bool,
}

impl Turn<'_> {
    /// Keeps the lane's next event back until the hold is dropped; the worker goes elsewhere.
    pub fn hold(&mut self) -> Hold {
        debug_assert!(!self.held, "a turn is held once");
        self.held = true;
        Hold {
            lane: Some(Arc::clone(self.lane)),
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.held {
            self.lane.end_turn();
        }
    }
}

/// A turn that outlasts the worker's visit; ends when dropped, on any thread.
#[derive(Debug)]
pub struct Hold {
    lane: Option<Arc<Lane>>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(lane) = self.lane.take() {
            lane.end_turn();
        }
    }
}

#[cfg(test)]
mod tests;
