//! What a ticket does with its permit: when the call waits, and when its place is free.

use super::*;

#[test]
fn a_permit_is_free_once_the_call_has_ended_and_its_handler_returned() {
    for (returns_first, runs_on) in [(true, false), (true, true), (false, false), (false, true)] {
        let door = door(1);
        let bench = Bench::behind(&door);
        let ticket = bench.ticket(1, Some(door.enter(PLACE, None, Held::default).unwrap()));
        ticket.begin();
        let running = ticket.run().unwrap();
        let returns: Box<dyn FnOnce() + '_> = if runs_on {
            let on = running.on();
            Box::new(|| drop(on))
        } else {
            Box::new(|| drop(running))
        };
        if returns_first {
            returns();
            assert!(!is_free(&door));
            ticket.respond(response(), &Extras::NONE);
        } else {
            ticket.expire();
            assert!(!is_free(&door));
            returns();
        }
        // What is left of the ticket holds nothing.
        assert!(is_free(&door));
        assert!(ticket.run().is_none());
        assert!(is_free(&door) && door.waiting_calls() == 0);
        assert_eq!(door.enter(PLACE, None, Held::default).map(drop), Ok(()));
        assert!(!is_free(&door), "given back more than was taken");
    }
}

#[test]
fn a_call_waits_until_it_begins_or_ends() {
    let door = door(1);
    let bench = Bench::behind(&door);
    let waiting = || door.waiting_calls();
    let ticket = |place| bench.ticket(place, Some(door.admit()));
    let (begins, ends, dropped) = (ticket(1), ticket(2), ticket(3));
    assert_eq!(waiting(), 3);
    begins.begin();
    begins.begin();
    assert_eq!(waiting(), 2);
    ends.expire();
    ends.begin();
    assert_eq!(waiting(), 1);
    drop(dropped);
    assert_eq!(waiting(), 0);
    begins.respond(response(), &Extras::NONE);
    assert_eq!(waiting(), 0);
}

#[test]
fn a_call_that_waits_again_is_counted_until_it_begins_or_ends() {
    let door = door(1);
    let bench = Bench::behind(&door);
    let waiting = || door.waiting_calls();
    let expired = || bench.link.count.expired.load(Ordering::SeqCst);
    let waits = |place| {
        let ticket = bench.ticket(place, Some(door.admit()));
        ticket.begin();
        let runs = ticket.run().unwrap().on();
        assert_eq!(waiting(), 0);
        runs.waits();
        assert_eq!(waiting(), 1);
        (ticket, runs)
    };
    let (begins, runs) = waits(1);
    assert!(runs.begins());
    assert_eq!(waiting(), 0);
    begins.expire();
    assert_eq!((waiting(), expired()), (0, 0));
    let (ends, runs) = waits(2);
    ends.expire();
    // Nobody has begun it.
    assert_eq!((waiting(), expired()), (0, 1));
    assert!(!runs.begins());
    assert_eq!(waiting(), 0);
    // It ended before it began to wait again.
    let ticket = bench.ticket(3, Some(door.admit()));
    ticket.begin();
    let runs = ticket.run().unwrap().on();
    ticket.expire();
    runs.waits();
    assert_eq!(waiting(), 0);
    assert!(!runs.begins());
    assert_eq!((waiting(), expired()), (0, 1));
}

#[test]
fn a_call_that_waits_again_while_it_ends_is_counted_back_once() {
    let door = door(1);
    for round in 0..500 {
        let bench = Bench::behind(&door);
        let ticket = bench.ticket(1, Some(door.admit()));
        ticket.begin();
        let runs = ticket.run().unwrap().on();
        let start = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                ticket.expire();
            });
            start.wait();
            runs.waits();
            let _ = runs.begins();
        });
        assert_eq!(door.waiting_calls(), 0, "round {round}");
    }
}
