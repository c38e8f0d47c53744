//! Lanes whose calls run side by side.

use super::*;

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
