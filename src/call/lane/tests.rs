//! Lanes of a processor, with a session that writes down what it is given.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Condvar;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Wake;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;

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

#[test]
fn events_run_in_order_and_the_lane_is_queued_once() {
    let (processor, notes, lane) = lane();
    push(&lane, [1, 2]);
    push(&lane, [3]);
    processor.stop();
    assert_eq!(lane.queued_calls(), 3);
    next(&processor).unwrap().run();
    assert_eq!(notes.called(), [1, 2, 3]);
    assert!(lane.is_idle());
    assert!(next(&processor).is_none());
}

#[test]
fn a_busy_lane_yields_to_the_others() {
    let (processor, notes, lane) = lane();
    push(&lane, 300..=300 + TURN_EVENTS);
    next(&processor).unwrap().run();
    assert_eq!(notes.called().len(), TURN_EVENTS);
    assert!(!lane.is_idle());
    next(&processor).unwrap().run();
    assert!(lane.is_idle());
}

#[test]
fn a_busy_lane_that_ran_out_goes_behind_others_still() {
    let (processor, _notes, lane) = wide_lane();
    for (events, before) in [
        (BUSY_EVENTS - 1, Before::Nothing),
        (BUSY_EVENTS, Before::More),
        (1, Before::Nothing),
    ] {
        push(&lane, (0..events).map(|_| 1));
        while !lane.is_idle() {
            next(&processor).unwrap().run();
        }
        // What a wide lane leaves in the queue while it is visited may find nothing.
        while let Some(lane) = processor.take() {
            lane.run();
        }
        push(&lane, [1]);
        let (lane, found) = processor.take_turn().unwrap();
        assert_eq!(found, before, "after {events} events");
        lane.run();
    }
}

#[test]
fn a_visit_ends_after_many_bytes() {
    static HALF: [u8; TURN_BYTES / 2] = [0; TURN_BYTES / 2];
    let (processor, notes, lane) = lane();
    push_events(&lane, (1..=3).map(|method| call_with(method, &HALF)));
    next(&processor).unwrap().run();
    assert_eq!(notes.called(), [1, 2]);
    next(&processor).unwrap().run();
    assert_eq!(notes.called(), [1, 2, 3]);
}

#[test]
fn a_visit_ends_with_an_event_that_was_enough() {
    let (processor, notes, lane) = lane();
    push(&lane, [1, 2, 3]);
    let enough = || notes.called().len() == 2;
    next(&processor).unwrap().run_until(enough);
    assert_eq!(notes.called(), [1, 2]);
    next(&processor).unwrap().run_until(enough);
    assert_eq!(notes.called(), [1, 2, 3]);
}

#[test]
fn a_hold_keeps_the_rest_back_until_it_is_dropped() {
    let (processor, notes, lane) = lane();
    push(&lane, [HOLD, 1]);
    next(&processor).unwrap().run();
    push(&lane, [2]);
    assert_eq!(notes.called(), [HOLD]);
    assert!(!lane.is_idle());
    notes.holds.lock().unwrap().clear();
    next(&processor).unwrap().run();
    assert_eq!(notes.called(), [HOLD, 1, 2]);
}

#[test]
fn a_turn_that_several_hold_ends_with_the_last_of_them() {
    for wide in [false, true] {
        let (processor, notes, lane) = lane_with(Notes {
            opening_holds: 3,
            ..Notes::default()
        });
        if wide {
            lane.widen(true);
        }
        push_events(&lane, [Event::Opened, call(1), closed()]);
        next(&processor).unwrap().run();
        for _ in 0..3 {
            assert_eq!(notes.seen(), [Seen::Opened]);
            assert!(!lane.is_idle());
            let hold = notes.holds.lock().unwrap().pop();
            drop(hold);
        }
        next(&processor).unwrap().run();
        assert_eq!(notes.seen(), [Seen::Opened, Seen::Call(1), Seen::Closed]);
        assert!(lane.is_idle());
    }
}

/// A session that lets go of its hold before it returns.
#[derive(Debug, Default)]
struct Hasty {
    called: AtomicU32,
}

impl Session for Hasty {
    fn handle(&self, _: &Arc<dyn Link>, event: Event, turn: &mut Turn<'_>) {
        if let Event::Call(call) = event {
            call.ticket.finish(Outcome::Ok);
            self.called.fetch_add(1, Ordering::SeqCst);
        } else {
            drop(turn.hold());
            // Another worker finds nothing to begin meanwhile.
            assert!(
                turn.lane.begin(turn.lane.mailbox()).is_none(),
                "a call ran beside the opening"
            );
        }
    }
}

#[test]
fn a_hold_that_is_dropped_early_does_not_end_the_turn() {
    let processor = Arc::new(Processor::default());
    let session = Arc::new(Hasty::default());
    let lane = Lane::new(Arc::clone(&session) as _, Arc::clone(&processor));
    push_events(&lane, [Event::Opened, call(1)]);
    next(&processor).unwrap().run();
    assert_eq!(session.called.load(Ordering::SeqCst), 1);
    assert!(lane.is_idle());
}

#[test]
fn a_panic_ends_the_turn_and_not_the_lane() {
    for wide in [false, true] {
        let (processor, notes, lane) = lane();
        if wide {
            lane.widen(true);
        }
        push(&lane, [PANIC, 1]);
        let taken = next(&processor).unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| taken.run())).is_err());
        next(&processor).unwrap().run();
        assert_eq!(notes.called(), [PANIC, 1]);
        assert!(lane.is_idle());
    }
}

#[test]
fn a_full_lane_stops_its_reader_until_half_is_free() {
    let (processor, _, lane) = lane();
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let mut context = Context::from_waker(&waker);
    push(&lane, vec![1; LANE_EVENTS - 1]);
    assert!(lane.poll_room(&mut context).is_ready());
    push(&lane, [1]);
    assert!(lane.poll_room(&mut context).is_pending());
    next(&processor).unwrap().run();
    assert_eq!(bell.rung(), 0);
    while lane.queued_calls() > LANE_EVENTS / 2 {
        next(&processor).unwrap().run();
    }
    assert_eq!(bell.rung(), 1);
    assert!(lane.poll_room(&mut context).is_ready());

    push(&lane, vec![1; LANE_EVENTS / 2]);
    assert!(lane.poll_room(&mut context).is_pending());
    next(&processor).unwrap().run();
    assert_eq!(lane.take_calls().len(), LANE_EVENTS - TURN_EVENTS);
    assert_eq!(bell.rung(), 2);
    assert!(lane.poll_room(&mut context).is_ready());
    assert_eq!(lane.queued_calls(), 0);
}

#[test]
fn two_workers_never_share_a_lane() {
    let (processor, notes, lane) = lane();
    let workers = workers(&processor);
    for number in 1000..3000 {
        push(&lane, [number]);
        if number % 500 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    run_out(&processor, &lane, workers);
    assert!(notes.called().into_iter().eq(1000..3000));
    assert_eq!(notes.running().most, 1);
}

#[test]
fn the_calls_of_a_wide_lane_run_side_by_side() {
    // Four calls that wait for each other; in a narrow lane, or with one worker woken too few,
    // they would wait in vain.
    for together in [true, false] {
        let (processor, notes, lane) = lane_with(Notes {
            party: 4,
            ..Notes::default()
        });
        lane.widen(true);
        let workers = workers(&processor);
        push_events(&lane, [Event::Opened]);
        if together {
            push(&lane, [MEET; 4]);
        } else {
            for _ in 0..4 {
                push(&lane, [MEET]);
                thread::sleep(Duration::from_millis(2));
            }
        }
        run_out(&processor, &lane, workers);
        notes.assert_no_faults();
        assert_eq!(notes.running().most, 4);
    }
}

#[test]
fn what_is_no_call_runs_alone_and_in_its_place() {
    let (processor, notes, lane) = wide_lane();
    let workers = workers(&processor);
    let mut events = vec![Event::Opened];
    for number in 0..2000 {
        if number % 100 == 0 {
            events.push(credential(number));
        }
        events.push(call(1000 + number));
    }
    events.push(closed());
    let mut expected_alone = vec![Seen::Opened];
    expected_alone.extend((0..20).map(|place| Seen::Credential(place * 100)));
    expected_alone.push(Seen::Closed);
    // In pieces, some while others run.
    let mut events = events.into_iter();
    loop {
        let piece: Vec<_> = events.by_ref().take(37).collect();
        if piece.is_empty() {
            break;
        }
        push_events(&lane, piece);
        thread::yield_now();
    }
    run_out(&processor, &lane, workers);
    notes.assert_no_faults();
    let mut alone = notes.seen();
    alone.retain(|seen| !matches!(seen, Seen::Call(_)));
    assert_eq!(alone, expected_alone);
    let mut called = notes.called();
    called.sort_unstable();
    assert!(called.into_iter().eq(1000..3000), "each call runs once");
    assert!(notes.running().most > 1, "{:?}", notes.running());
    assert_eq!(waiting_calls(), 0);
}

#[test]
fn a_hold_in_a_wide_lane_keeps_back_only_what_runs_alone() {
    let (processor, notes, lane) = wide_lane();
    push(&lane, [HOLD, 1, HOLD, 2]);
    push_events(&lane, [closed(), call(3)]);
    next(&processor).unwrap().run();
    assert_eq!(notes.called(), [HOLD, 1, HOLD, 2]);
    let hold = notes.holds.lock().unwrap().pop();
    drop(hold);
    assert_eq!(notes.seen().len(), 4);
    // The lane was left in the queue for whoever might find something to begin: there is nothing.
    next(&processor).unwrap().run();
    assert_eq!(notes.seen().len(), 4);
    assert!(!lane.is_idle());
    notes.holds.lock().unwrap().clear();
    next(&processor).unwrap().run();
    assert_eq!(notes.seen()[4..], [Seen::Closed, Seen::Call(3)]);
    assert!(lane.is_idle());
    notes.assert_no_faults();
}

#[test]
fn two_thousand_calls_of_a_wide_lane_run_once_each_while_holds_come_and_go() {
    let (processor, notes, lane) = wide_lane();
    let workers = workers(&processor);
    let releaser = {
        let (notes, lane) = (Arc::clone(&notes), Arc::clone(&lane));
        thread::spawn(move || {
            let start = Instant::now();
            while notes.called().len() < 2100 || !lane.is_idle() {
                let holds = std::mem::take(&mut *notes.holds.lock().unwrap());
                drop(holds);
                thread::sleep(Duration::from_micros(100));
                assert!(start.elapsed() < PATIENCE);
            }
        })
    };
    for number in 0..2000 {
        push(&lane, [1000 + number]);
        if number % 20 == 0 {
            push(&lane, [HOLD]);
        }
    }
    releaser.join().unwrap();
    run_out(&processor, &lane, workers);
    let mut called = notes.called();
    called.sort_unstable();
    assert_eq!(called[..100], [HOLD; 100]);
    assert!(called[100..].iter().copied().eq(1000..3000));
    assert_eq!(waiting_calls(), 0);
}

#[test]
fn calls_that_wait_are_counted_over_all_lanes() {
    let processor = Arc::new(Processor::default());
    let notes: Arc<Notes> = Arc::default();
    let lane = || {
        let session: Arc<dyn Session> = Arc::clone(&notes) as _;
        let lane = Lane::new(session, Arc::clone(&processor));
        lane.widen(true);
        lane
    };
    let (first, second) = (lane(), lane());
    push_events(&first, [Event::Opened]);
    assert_eq!(waiting_calls(), 0);
    push(&first, [1, HOLD, 3]);
    push(&second, [4, 5]);
    assert_eq!(waiting_calls(), 5);
    assert_eq!(waiting_calls(), 5);
    assert_eq!((first.queued_calls(), second.queued_calls()), (3, 2));
    next(&processor).unwrap().run();
    // A call that runs waits no more, nor does one whose turn is held.
    assert_eq!(waiting_calls(), 2);
    assert_eq!(first.queued_calls(), 0);
    // Whoever takes them out has to end them, and then they wait no more.
    let taken = second.take_calls();
    assert_eq!((taken.len(), second.queued_calls()), (2, 0));
    drop(taken);
    assert_eq!(waiting_calls(), 0);
}

#[test]
fn taken_calls_are_given_back_and_the_rest_runs() {
    for wide in [true, false] {
        let (processor, notes, lane) = lane();
        if wide {
            lane.widen(true);
        }
        push_events(&lane, [Event::Opened]);
        push(&lane, [1, 2, 3]);
        push_events(&lane, [closed()]);
        let taken: Vec<usize> = lane
            .take_calls()
            .iter()
            .map(|call| call.place.method)
            .collect();
        assert_eq!(taken, [1, 2, 3]);
        assert_eq!((lane.queued_calls(), waiting_calls()), (0, 0));
        assert!(!lane.is_idle());
        next(&processor).unwrap().run();
        assert_eq!(notes.seen(), [Seen::Opened, Seen::Closed]);
        assert!(lane.is_idle());
        assert_eq!(lane.take_calls().len(), 0);
    }
}

#[test]
fn a_wide_lane_where_calls_can_be_refused_never_stops_its_reader_and_says_what_waits() {
    static MEGABYTE: [u8; 1 << 20] = [0; 1 << 20];
    let (_, _, lane) = wide_lane();
    let mut context = Context::from_waker(Waker::noop());
    push(&lane, vec![1; 2 * LANE_EVENTS]);
    let before = lane.waiting();
    assert_eq!(before.0, 2 * LANE_EVENTS);
    push_events(&lane, (0..8).map(|_| call_with(1, &MEGABYTE)));
    assert!(lane.poll_room(&mut context).is_ready());
    let (calls, bytes) = lane.waiting();
    assert_eq!(
        (calls, bytes),
        (before.0 + 8, before.1 + 8 * MEGABYTE.len())
    );
    while lane.queued_calls() > 2 {
        lane.begin(lane.mailbox()).expect("a call may begin");
        drop(lane.end());
    }
    assert_eq!(lane.waiting(), (2, 2 * MEGABYTE.len()));
    assert_eq!(waiting_calls(), 2);
}

#[test]
fn a_wide_lane_that_nobody_else_bounds_is_full_like_a_narrow_one() {
    let (processor, _, lane) = lane();
    lane.widen(false);
    let mut context = Context::from_waker(Waker::noop());
    push(&lane, vec![1; LANE_EVENTS - 1]);
    assert!(lane.poll_room(&mut context).is_ready());
    push(&lane, [1]);
    assert!(lane.poll_room(&mut context).is_pending());
    while lane.queued_calls() > LANE_EVENTS / 2 {
        next(&processor).unwrap().run();
    }
    assert!(lane.poll_room(&mut context).is_ready());
}

#[test]
fn a_paused_lane_begins_no_call_until_it_goes_on() {
    for wide in [false, true] {
        let (processor, notes, lane) = lane();
        if wide {
            lane.widen(true);
        }
        lane.pause();
        push_events(&lane, [Event::Opened, call(1), call(2)]);
        next(&processor).unwrap().run();
        assert_eq!(notes.seen(), [Seen::Opened]);
        push_events(&lane, [closed()]);
        assert_eq!((lane.queued_calls(), waiting_calls()), (2, 2));
        assert!(!lane.is_idle());
        // There is nothing in the queue for anybody meanwhile.
        assert!(processor.take().is_none());
        lane.resume();
        next(&processor).unwrap().run();
        let expected = [Seen::Opened, Seen::Call(1), Seen::Call(2), Seen::Closed];
        assert_eq!(notes.seen(), expected);
        assert!(lane.is_idle());
    }
}

#[test]
fn a_lane_that_is_paused_while_calls_run_lets_those_end() {
    let (processor, notes, lane) = wide_lane();
    push(&lane, [HOLD, 1]);
    next(&processor).unwrap().run();
    lane.pause();
    push(&lane, [2]);
    notes.holds.lock().unwrap().clear();
    assert_eq!(notes.called(), [HOLD, 1]);
    lane.resume();
    // Once for the first call, maybe, and once for the last.
    while !lane.is_idle() {
        next(&processor).unwrap().run();
    }
    assert_eq!(notes.called(), [HOLD, 1, 2]);
}

#[test]
fn calls_that_ended_while_they_waited_make_room_for_others() {
    static KILOBYTES: [u8; 8 << 10] = [0; 8 << 10];
    let (processor, notes, lane) = wide_lane();
    let mut context = Context::from_waker(Waker::noop());
    push_events(&lane, [Event::Opened]);
    // Ten times what a lane takes, of which all but every twentieth have ended.
    for number in 0..10 * LANE_BYTES / KILOBYTES.len() {
        let event = call_with(1000 + number, &KILOBYTES);
        if let Event::Call(call) = &event
            && number % 20 != 0
        {
            call.ticket.expire();
        }
        push_events(&lane, [event]);
        assert!(lane.poll_room(&mut context).is_ready(), "full at {number}");
        assert!(lane.queued_calls() < 2 * SWEEP_EVENTS + number / 5);
    }
    let left = 10 * LANE_BYTES / KILOBYTES.len() / 20;
    assert_eq!(waiting_calls(), left);
    push_events(&lane, [closed()]);
    while !lane.is_idle() {
        next(&processor).unwrap().run();
    }
    let called = notes.called();
    let alive = called.iter().filter(|number| *number % 20 == 0);
    assert!(alive.copied().eq((0..left).map(|place| 1000 + place * 20)));
    assert_eq!(notes.seen().first(), Some(&Seen::Opened));
    assert_eq!(notes.seen().last(), Some(&Seen::Closed));
    let mailbox = lane.mailbox();
    assert_eq!((mailbox.calls, mailbox.bytes), (0, 0));
}

#[test]
fn whoever_waits_for_the_end_of_a_lane_is_woken_at_it() {
    let (processor, notes, lane) = wide_lane();
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let mut context = Context::from_waker(&waker);
    assert!(lane.poll_idle(&mut context).is_ready());
    push(&lane, [1, HOLD, 2]);
    assert!(lane.poll_idle(&mut context).is_pending());
    next(&processor).unwrap().run();
    assert_eq!(bell.rung(), 0);
    assert!(lane.poll_idle(&mut context).is_pending());
    notes.holds.lock().unwrap().clear();
    assert_eq!(bell.rung(), 1);
    assert!(lane.poll_idle(&mut context).is_ready());
}
