//! What waits in a lane, how much of that may, and who waits for it.

use super::*;
use crate::call::Held;

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

/// Whether one more call of a connection with many comes in, after a hundred of which the last waited
/// for ten seconds.
fn lets_one_in_after(held_back: bool) -> bool {
    let (_, _, lane) = lane();
    let calls: Vec<_> = (0..100).map(call).collect();
    let ticket = |event: &Event| match event {
        Event::Call(call) => Arc::clone(&call.ticket),
        _ => unreachable!(),
    };
    let tickets: Vec<_> = calls.iter().map(ticket).collect();
    lane.pause();
    push_events(&lane, calls);
    if held_back {
        lane.resume();
    }
    let now = Instant::now();
    for (ticket, number) in tickets.iter().zip(1..) {
        ticket.begin();
        ticket.taken_up(now + Duration::from_millis(100 * number));
    }
    let _waiting: Vec<_> = (0..100).map(call).collect();
    let held = || Held {
        waiting: 100,
        lanes: 1,
        open: 100,
    };
    let place = Place {
        service: 0,
        method: 0,
    };
    let patience = Some(Duration::from_secs(2));
    DOOR.with(|door| {
        let permit = door.enter(place, patience, held);
        permit.map(|permit| permit.begin(door)).is_ok()
    })
}

#[test]
fn how_long_calls_waited_for_their_peer_to_read_refuses_nobody() {
    // On threads of their own, with a door each.
    let after = |held_back| thread::spawn(move || lets_one_in_after(held_back)).join();
    assert!(!after(false).unwrap());
    assert!(after(true).unwrap());
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
