//! Who comes for a lane: the leader, a worker that rests, or several.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use super::*;
use crate::call::{Event, Link, Session, Turn};

pub(super) const PATIENCE: Duration = Duration::from_secs(20);
pub(super) const ANN: WorkerId = 1;
const BOB: WorkerId = 2;

/// Its events do nothing.
#[derive(Debug)]
struct Nothing;

impl Session for Nothing {
    fn handle(&self, _: &Arc<dyn Link>, _: Event, _: &mut Turn<'_>) {}
}

/// Whether those at work have no CPU to be had; none sleeps.
struct Starved(bool);

impl Workforce for Starved {
    fn fills_cpus(&self) -> bool {
        self.0
    }

    fn is_asleep(&self) -> bool {
        false
    }
}

/// A processor, and a clock that goes by milliseconds.
pub(super) struct Bench {
    pub(super) processor: Arc<Processor>,
    start: Instant,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self {
            processor: Arc::default(),
            start: Instant::now(),
        }
    }

    pub(super) fn lane(&self) -> Arc<Lane> {
        Lane::new(Arc::new(Nothing), Arc::clone(&self.processor))
    }

    pub(super) fn fill(&self) {
        self.processor.enqueue(self.lane(), Before::Nothing);
    }

    pub(super) fn tick(&self, ms: u64) {
        self.processor
            .tick(self.start + Duration::from_millis(ms), &Starved(false));
    }

    /// The same where those at work have no CPU to be had.
    fn tick_starved(&self, ms: u64) {
        self.processor
            .tick(self.start + Duration::from_millis(ms), &Starved(true));
    }

    /// Threads that rest until there is something, each of which says so once.
    pub(super) fn resting(&self, count: usize) -> Receiver<Woken> {
        let (woken, heard) = channel();
        for _ in 0..count {
            let (processor, woken) = (Arc::clone(&self.processor), woken.clone());
            thread::spawn(move || {
                let why = processor.rest();
                drop(processor.take());
                let _ = woken.send(why);
            });
        }
        // So that most of them wait already; whoever finds out at once does the same.
        thread::sleep(Duration::from_millis(50));
        heard
    }
}

pub(super) fn poll(processor: &Processor) -> Poll<Woken> {
    processor.poll_filled(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn there_is_one_leader_and_it_finds_what_came() {
    let bench = Bench::new();
    assert!(bench.processor.lead(ANN));
    assert!(bench.processor.lead(ANN));
    assert!(!bench.processor.lead(BOB));
    assert_eq!(poll(&bench.processor), Poll::Pending);
    bench.fill();
    assert_eq!(poll(&bench.processor), Poll::Ready(Woken::Filled));
    assert!(bench.processor.take().is_some());
    bench.processor.stop();
    assert_eq!(poll(&bench.processor), Poll::Ready(Woken::Stopped));
}

#[test]
fn nobody_else_is_woken_while_there_is_a_leader() {
    let bench = Bench::new();
    assert!(bench.processor.lead(ANN));
    let heard = bench.resting(1);
    bench.fill();
    heard.recv_timeout(Duration::from_millis(50)).unwrap_err();
    drop(bench.processor.take());
    bench.processor.stand_aside(BOB);
    assert!(bench.processor.lead(ANN));
    bench.processor.stand_aside(ANN);
    bench.fill();
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(Woken::Filled));
    assert!(bench.processor.lead(BOB));
}

#[test]
fn who_stands_aside_leaves_what_waits_to_another() {
    let bench = Bench::new();
    assert!(bench.processor.lead(ANN));
    let heard = bench.resting(1);
    bench.fill();
    bench.processor.stand_aside(ANN);
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(Woken::Filled));
}

#[test]
fn one_more_comes_when_nothing_moves_between_two_ticks_and_may_lead() {
    let bench = Bench::new();
    assert!(bench.processor.lead(ANN));
    bench.processor.begin();
    let heard = bench.resting(2);
    bench.fill();
    bench.tick(1);
    assert!(!bench.processor.lead(BOB), "there was progress until then");
    heard.recv_timeout(Duration::from_millis(50)).unwrap_err();
    bench.tick(2);
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(Woken::Filled));
    assert!(bench.processor.lead(BOB));
    assert!(!bench.processor.lead(ANN));
    bench.processor.stop();
}

#[test]
fn progress_keeps_the_leader_however_much_waits() {
    let bench = Bench::new();
    assert!(bench.processor.lead(ANN));
    bench.fill();
    for ms in 0..50 {
        bench.processor.begin();
        bench.processor.leave();
        bench.processor.end();
        bench.tick(ms);
    }
    assert!(bench.processor.lead(ANN));
}

#[test]
fn a_second_standstill_soon_after_the_first_brings_a_crowd_for_a_while() {
    let bench = Bench::new();
    assert!(bench.processor.lead(ANN));
    bench.processor.begin();
    bench.fill();
    bench.tick(1);
    bench.tick(2);
    assert!(bench.processor.lead(BOB));
    bench.tick(3);
    assert!(!bench.processor.lead(ANN) && !bench.processor.lead(BOB));
    drop(bench.processor.take());
    bench.processor.leave();
    bench.processor.end();
    bench.tick(102);
    assert!(!bench.processor.lead(ANN));
    bench.tick(103);
    assert!(bench.processor.lead(ANN));
}

#[test]
fn the_crowd_stays_while_several_are_held_up() {
    let bench = Bench::new();
    bench.processor.begin();
    bench.fill();
    for ms in 0..3 {
        bench.tick(ms);
    }
    assert!(!bench.processor.lead(ANN), "crowded");
    drop(bench.processor.take());
    // Two are at work at any tick; each stays for more than one.
    bench.processor.begin();
    for ms in 3..500 {
        if ms % 4 == 0 {
            // And takes the next one.
            bench.processor.leave();
        }
        bench.tick(ms);
    }
    assert!(!bench.processor.lead(ANN));
    bench.processor.leave();
    bench.processor.end();
    for ms in 500..610 {
        bench.tick(ms);
    }
    assert!(bench.processor.lead(ANN), "one alone holds up nobody");
}

#[test]
fn nobody_else_comes_while_the_leader_is_at_no_handler() {
    let bench = Bench::new();
    assert!(bench.processor.lead(ANN));
    let heard = bench.resting(1);
    // It reads, or writes, and that takes its time.
    bench.fill();
    for ms in 0..20 {
        bench.tick(ms);
    }
    assert!(bench.processor.lead(ANN), "not crowded");
    assert!(!bench.processor.lead(BOB));
    heard.recv_timeout(Duration::from_millis(50)).unwrap_err();
    bench.processor.begin();
    bench.tick(20);
    bench.tick(21);
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(Woken::Filled));
}

#[test]
fn for_want_of_a_cpu_nobody_else_comes_before_long() {
    let bench = Bench::new();
    assert!(bench.processor.lead(ANN));
    bench.processor.begin();
    let heard = bench.resting(1);
    bench.fill();
    for ms in 0..u64::from(crowding::PATIENT_TICKS) {
        bench.tick_starved(ms);
    }
    assert!(!bench.processor.lead(BOB));
    heard.recv_timeout(Duration::from_millis(50)).unwrap_err();
    bench.tick_starved(u64::from(crowding::PATIENT_TICKS));
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(Woken::Filled));
    bench.fill();
    assert!(bench.processor.lead(BOB), "one more came, and no crowd");
}

#[test]
fn a_crowd_ends_though_several_are_held_up_where_the_cpus_are_taken() {
    let bench = Bench::new();
    bench.processor.begin();
    bench.fill();
    for ms in 0..3 {
        bench.tick(ms);
    }
    bench.processor.begin();
    let ends = 102;
    for ms in 3..ends {
        bench.processor.leave();
        bench.processor.begin();
        bench.tick_starved(ms);
        assert!(!bench.processor.lead(ANN), "still crowded at {ms} ms");
    }
    bench.tick_starved(ends);
    assert!(bench.processor.lead(ANN));
}

#[test]
fn who_had_nothing_goes_first_and_who_has_more_is_not_forgotten() {
    let bench = Bench::new();
    let busy = bench.lane();
    bench.processor.enqueue(Arc::clone(&busy), Before::More);
    for _ in 0..20 {
        bench.fill();
    }
    let mut order = (0..21).map(|_| bench.processor.take().unwrap());
    assert_eq!(order.position(|lane| Arc::ptr_eq(&lane, &busy)), Some(8));
    assert_eq!(order.count(), 12);
    assert!(bench.processor.take().is_none());
}

#[test]
fn it_is_quiet_when_nothing_waits_and_the_leader_is_told_by_a_waker() {
    let bench = Bench::new();
    assert!(bench.processor.is_quiet());
    assert!(bench.processor.lead(ANN));
    assert!(!bench.processor.is_quiet(), "it may be at work");
    assert_eq!(poll(&bench.processor), Poll::Pending);
    assert!(bench.processor.is_quiet());
    bench.fill();
    assert!(!bench.processor.is_quiet());
}

#[test]
fn all_go_when_it_is_stopped() {
    let bench = Bench::new();
    let heard = bench.resting(3);
    bench.processor.stop();
    for _ in 0..3 {
        assert_eq!(heard.recv_timeout(PATIENCE), Ok(Woken::Stopped));
    }
    assert!(!bench.processor.lead(ANN));
    assert_eq!(bench.processor.rest(), Woken::Stopped);
}
