//! The processor with a session that writes down what it is given.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Weak;
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::call::{Call, CloseReason, LossListener};
use crate::schema::ServiceSchema;
use crate::status::Status;

#[derive(Debug)]
struct Nowhere;

impl Link for Nowhere {
    fn peer(&self) -> &'static str {
        "nowhere"
    }
    fn protocol(&self) -> &'static str {
        "none"
    }
    fn serve(&self, _: Arc<ServiceSchema>) {}
    fn call(&self, _: u32, _: &[u8]) -> Result<(), Status> {
        Ok(())
    }
    fn is_open(&self) -> bool {
        true
    }
    fn is_lost(&self) -> bool {
        false
    }
    fn on_loss(&self, _: Weak<dyn LossListener>) {}
    fn finish(&self, _: CloseReason) {}
    fn abort(&self, _: CloseReason) {}
}

/// Notes the method numbers it was given; holds its turn at 100, panics at 200.
#[derive(Debug, Default)]
struct Notes {
    seen: Mutex<Vec<usize>>,
    hold: Mutex<Option<Hold>>,
}

impl Session for Notes {
    fn handle(&self, _: &Arc<dyn Link>, event: Event, turn: &mut Turn<'_>) {
        let Event::Call(call) = event else { return };
        self.seen.lock().unwrap().push(call.method);
        match call.method {
            100 => *self.hold.lock().unwrap() = Some(turn.hold()),
            200 => panic!("as asked"),
            _ => {}
        }
    }
}

fn lane() -> (Arc<Processor>, Arc<Notes>, Arc<Lane>) {
    let processor = Arc::new(Processor::default());
    let notes = Arc::new(Notes::default());
    let session: Arc<dyn Session> = Arc::clone(&notes) as _;
    let lane = Lane::new(session, Arc::clone(&processor));
    (processor, notes, lane)
}

fn push(lane: &Arc<Lane>, methods: impl IntoIterator<Item = usize>) {
    let link: Arc<dyn Link> = Arc::new(Nowhere);
    let call = |method| {
        Event::Call(Call {
            method,
            body: Bytes::from_static(b"four"),
        })
    };
    lane.push(&link, methods.into_iter().map(call));
}

#[test]
fn events_run_in_order_and_the_lane_is_queued_once() {
    let (processor, notes, lane) = lane();
    push(&lane, [1, 2]);
    push(&lane, [3]);
    processor.stop();
    assert_eq!(lane.queued_calls(), 3);
    processor.next().unwrap().run();
    assert_eq!(*notes.seen.lock().unwrap(), [1, 2, 3]);
    assert!(lane.is_idle());
    assert!(processor.next().is_none());
}

#[test]
fn a_busy_lane_yields_to_the_others() {
    let (processor, notes, lane) = lane();
    push(&lane, 0..=TURN_EVENTS);
    processor.next().unwrap().run();
    assert_eq!(notes.seen.lock().unwrap().len(), TURN_EVENTS);
    assert!(!lane.is_idle());
    processor.next().unwrap().run();
    assert!(lane.is_idle());
}

#[test]
fn a_hold_keeps_the_rest_back_until_it_is_dropped() {
    let (processor, notes, lane) = lane();
    push(&lane, [100, 1]);
    processor.next().unwrap().run();
    push(&lane, [2]);
    assert_eq!(*notes.seen.lock().unwrap(), [100]);
    assert!(!lane.is_idle());
    drop(notes.hold.lock().unwrap().take());
    processor.next().unwrap().run();
    assert_eq!(*notes.seen.lock().unwrap(), [100, 1, 2]);
}

#[test]
fn a_panic_ends_the_turn_and_not_the_lane() {
    let (processor, notes, lane) = lane();
    push(&lane, [200, 1]);
    let taken = processor.next().unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| taken.run())).is_err());
    processor.next().unwrap().run();
    assert_eq!(*notes.seen.lock().unwrap(), [200, 1]);
}

#[test]
fn a_full_lane_stops_its_reader_until_half_is_free() {
    let (processor, _, lane) = lane();
    let mut context = Context::from_waker(Waker::noop());
    push(&lane, vec![1; LANE_EVENTS - 1]);
    assert!(lane.poll_room(&mut context).is_ready());
    push(&lane, [1]);
    assert!(lane.poll_room(&mut context).is_pending());
    processor.next().unwrap().run();
    assert_eq!(lane.discard_calls(), LANE_EVENTS - TURN_EVENTS);
    assert!(lane.poll_room(&mut context).is_ready());
    assert_eq!(lane.queued_calls(), 0);
}

#[test]
fn two_workers_never_share_a_lane() {
    let (processor, notes, lane) = lane();
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let processor = Arc::clone(&processor);
            thread::spawn(move || {
                while let Some(lane) = processor.next() {
                    lane.run();
                }
            })
        })
        .collect();
    for number in 1000..3000 {
        push(&lane, [number]);
        if number % 500 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    while !lane.is_idle() {
        thread::yield_now();
    }
    processor.stop();
    for worker in workers {
        worker.join().unwrap();
    }
    assert!(notes.seen.lock().unwrap().iter().copied().eq(1000..3000));
}
