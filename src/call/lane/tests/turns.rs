//! Visits, turns and holds.

use super::*;

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
