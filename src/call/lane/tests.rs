//! Lanes of a processor, with a session that writes down what it is given.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Condvar;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Wake, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::mailbox::{LANE_BYTES, SWEEP_EVENTS};
use super::*;
use crate::call::ticket::tests::{Recorder, waiting_ticket};
use crate::call::{Admission, CloseKind, CloseReason, Limits, Outcome, Place, Woken};
use crate::wire::{Extras, Payload};

/// More than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// The method that holds its turn.
const HOLD: usize = 100;
/// The method that panics.
const PANIC: usize = 200;
/// The method that waits until as many run as [`Notes::party`] says.
const MEET: usize = 300;

/// What a session was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Opened,
    Credential(usize),
    Call(usize),
    Closed,
}

/// How many calls began, ended, and run alone.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Running {
    begun: usize,
    ended: usize,
    /// Most calls that ran at once.
    most: usize,
    /// Something runs that must run alone.
    alone: bool,
}

/// Notes what it was given.
#[derive(Debug, Default)]
struct Notes {
    seen: Mutex<Vec<Seen>>,
    holds: Mutex<Vec<Hold>>,
    running: Mutex<Running>,
    changed: Condvar,
    /// How often the turn of the opening is held.
    opening_holds: usize,
    /// How many calls of [`MEET`] wait for each other.
    party: usize,
    /// Something ran that should not have.
    faults: Mutex<Vec<String>>,
}

impl Notes {
    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The methods that were called.
    fn called(&self) -> Vec<usize> {
        let method = |seen| match seen {
            Seen::Call(method) => Some(method),
            _ => None,
        };
        self.seen().into_iter().filter_map(method).collect()
    }

    fn running(&self) -> Running {
        *self.running.lock().unwrap()
    }

    fn fault(&self, what: String) {
        self.faults.lock().unwrap().push(what);
    }

    #[track_caller]
    fn assert_no_faults(&self) {
        assert_eq!(*self.faults.lock().unwrap(), [""; 0]);
    }

    fn run_call(&self, method: usize, turn: &mut Turn<'_>) {
        let mut running = self.running.lock().unwrap();
        if running.alone {
            self.fault(format!("call {method} beside what runs alone"));
        }
        running.begun += 1;
        running.most = running.most.max(running.begun - running.ended);
        self.changed.notify_all();
        match method {
            HOLD => self.holds.lock().unwrap().push(turn.hold()),
            PANIC => {
                running.ended += 1;
                drop(running);
                panic!("as asked");
            }
            MEET => {
                let alone = |running: &mut Running| running.most < self.party;
                let (back, late) = self
                    .changed
                    .wait_timeout_while(running, PATIENCE, alone)
                    .unwrap();
                running = back;
                if late.timed_out() {
                    self.fault("nobody came".to_owned());
                }
            }
            _ => {
                // Long enough for others to begin.
                drop(running);
                thread::yield_now();
                running = self.running.lock().unwrap();
            }
        }
        running.ended += 1;
    }

    /// Runs alone, after `before` calls have begun and ended.
    fn run_alone(&self, before: Option<usize>) {
        let at_first = {
            let mut running = self.running.lock().unwrap();
            if running.alone {
                self.fault("two run alone".to_owned());
            }
            running.alone = true;
            *running
        };
        if at_first.begun != at_first.ended || before.is_some_and(|calls| calls != at_first.ended) {
            self.fault(format!("{before:?} calls should have ended: {at_first:?}"));
        }
        thread::sleep(Duration::from_micros(200));
        let mut running = self.running.lock().unwrap();
        if *running != at_first {
            self.fault(format!("{running:?} after {at_first:?}"));
        }
        running.alone = false;
    }
}

impl Session for Notes {
    fn handle(&self, _: &Arc<dyn Link>, event: Event, turn: &mut Turn<'_>) {
        let note = |seen| self.seen.lock().unwrap().push(seen);
        match event {
            Event::Opened => {
                note(Seen::Opened);
                self.run_alone(Some(0));
                for _ in 0..self.opening_holds {
                    self.holds.lock().unwrap().push(turn.hold());
                }
            }
            Event::Credential(credential, _) => {
                let before = usize::from_be_bytes(credential[..].try_into().unwrap());
                note(Seen::Credential(before));
                self.run_alone(Some(before));
            }
            Event::Call(call) => {
                let method = call.place.method;
                note(Seen::Call(method));
                call.ticket.finish(Outcome::Ok);
                self.run_call(method, turn);
            }
            Event::Closed(_) => {
                note(Seen::Closed);
                self.run_alone(None);
            }
        }
    }
}

thread_local! {
    /// Through which the calls of a test come in.
    static DOOR: Arc<Admission> = {
        let limits = Limits {
            concurrency: None,
            queued: usize::MAX,
            queue_time: Duration::MAX,
        };
        Arc::new(Admission::new(limits, Vec::new()))
    };
}

fn waiting_calls() -> usize {
    DOOR.with(|door| door.waiting_calls())
}

fn lane_with(notes: Notes) -> (Arc<Processor>, Arc<Notes>, Arc<Lane>) {
    let processor = Arc::new(Processor::default());
    let notes = Arc::new(notes);
    let session: Arc<dyn Session> = Arc::clone(&notes) as _;
    let lane = Lane::new(session, Arc::clone(&processor));
    (processor, notes, lane)
}

fn lane() -> (Arc<Processor>, Arc<Notes>, Arc<Lane>) {
    lane_with(Notes::default())
}

fn wide_lane() -> (Arc<Processor>, Arc<Notes>, Arc<Lane>) {
    let (processor, notes, lane) = lane();
    lane.widen(true);
    (processor, notes, lane)
}

fn call_with(method: usize, body: &'static [u8]) -> Event {
    Event::Call(Call {
        place: Place { service: 0, method },
        body: Payload::plain(Bytes::from_static(body)),
        extras: Extras::default(),
        ticket: DOOR.with(waiting_ticket),
    })
}

fn call(method: usize) -> Event {
    call_with(method, b"four")
}

/// What must come after so many calls.
fn credential(calls: usize) -> Event {
    Event::Credential(Bytes::copy_from_slice(&calls.to_be_bytes()), Vec::new())
}

fn closed() -> Event {
    Event::Closed(CloseReason::new(CloseKind::PeerClosed, "closed"))
}

fn push_events(lane: &Arc<Lane>, events: impl IntoIterator<Item = Event>) {
    let link: Arc<dyn Link> = Arc::new(Recorder::default());
    lane.push(&link, events);
}

fn push(lane: &Arc<Lane>, methods: impl IntoIterator<Item = usize>) {
    push_events(lane, methods.into_iter().map(call));
}

/// Waits for a lane; `None` when nothing more will come.
fn next(processor: &Processor) -> Option<Arc<Lane>> {
    loop {
        if let Some(lane) = processor.take() {
            return Some(lane);
        }
        if processor.rest() == Woken::Stopped {
            return None;
        }
    }
}

/// Four workers, until the processor is stopped.
fn workers(processor: &Arc<Processor>) -> Vec<JoinHandle<()>> {
    let work = |_| {
        let processor = Arc::clone(processor);
        thread::spawn(move || {
            while let Some(lane) = next(&processor) {
                lane.run();
            }
        })
    };
    (0..4).map(work).collect()
}

/// Waits until nothing is left of a lane, and lets its workers go.
#[track_caller]
fn run_out(processor: &Processor, lane: &Lane, workers: Vec<JoinHandle<()>>) {
    let start = Instant::now();
    while !lane.is_idle() && start.elapsed() < PATIENCE {
        thread::yield_now();
    }
    assert!(lane.is_idle(), "never idle");
    processor.stop();
    for worker in workers {
        worker.join().unwrap();
    }
}

#[derive(Debug, Default)]
struct Bell(AtomicU32);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Bell {
    fn rung(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

mod room;
mod turns;
mod wide;
