//! Who is let in, and who is not.

use super::*;

const fn at(service: usize, method: usize) -> Place {
    Place { service, method }
}

fn door(concurrency: Option<usize>, methods: Vec<Vec<Option<usize>>>) -> Admission {
    let limits = Limits {
        concurrency,
        queued: 3,
        queue_time: Duration::from_secs(1),
    };
    Admission::new(limits, methods)
}

fn refused(door: &Admission, place: Place) -> String {
    let status = door.enter(place, None, Held::default).unwrap_err();
    assert_eq!(status.code, Code::ResourceExhausted);
    status.text
}

#[test]
fn a_call_keeps_its_place_until_it_leaves() {
    let door = door(Some(2), Vec::new());
    let first = door.enter(at(0, 0), None, Held::default).unwrap();
    let second = door.enter(at(0, 1), None, Held::default).unwrap();
    assert!(refused(&door, at(0, 0)).contains("the server runs 2"));
    first.leave(&door);
    let third = door.enter(at(0, 0), None, Held::default).unwrap();
    assert!(door.enter(at(0, 0), None, Held::default).is_err());
    for permit in [second, third] {
        permit.begin(&door);
        permit.leave(&door);
    }
    door.enter(at(0, 0), None, Held::default)
        .unwrap()
        .leave(&door);
}

#[test]
fn a_method_has_a_bound_of_its_own_and_takes_nothing_when_it_refuses() {
    let door = door(Some(2), vec![vec![], vec![None, Some(1)]]);
    let slow = door.enter(at(1, 1), None, Held::default).unwrap();
    assert!(refused(&door, at(1, 1)).contains("the method runs 1"));
    let other = door.enter(at(1, 0), None, Held::default).unwrap();
    slow.leave(&door);
    other.leave(&door);
    door.enter(at(1, 1), None, Held::default)
        .unwrap()
        .leave(&door);
}

#[test]
fn calls_wait_until_they_begin_and_those_that_cannot_be_refused_are_counted_too() {
    let door = door(None, Vec::new());
    let permits = [
        door.admit(),
        door.admit(),
        door.enter(at(0, 0), None, Held::default).unwrap(),
    ];
    assert_eq!(door.waiting_calls(), 3);
    assert!(refused(&door, at(0, 0)).contains("3 calls wait already"));
    let more = door.admit();
    for permit in permits {
        permit.begin(&door);
    }
    assert_eq!(door.waiting_calls(), 1);
    more.begin(&door);
    assert_eq!(door.waiting_calls(), 0);
}

/// A door at which 100 calls wait, of which each takes 10 ms.
fn crowded() -> (Admission, Vec<Permit>) {
    let limits = Limits {
        concurrency: None,
        queued: 1000,
        queue_time: Duration::from_millis(700),
    };
    let door = Admission::new(limits, Vec::new());
    for _ in 0..10 {
        let permits: Vec<_> = (0..100).map(|_| door.admit()).collect();
        for (permit, waited) in permits.iter().zip(1..) {
            permit.begin(&door);
            permit.taken_up(&door, Duration::from_millis(10 * waited));
        }
    }
    let permits = (0..100).map(|_| door.admit()).collect();
    (door, permits)
}

fn much() -> Held {
    Held {
        waiting: 100,
        lanes: 1,
        open: 100,
    }
}

#[test]
fn a_call_that_would_wait_for_half_of_its_time_is_refused_at_once() {
    let (door, _permits) = crowded();
    let patience = |ms| Some(Duration::from_millis(ms));
    let refused = door.enter(at(0, 0), patience(1000), much).unwrap_err();
    assert_eq!(refused.code, Code::ResourceExhausted);
    let text = &refused.text;
    assert!(
        text.starts_with("100 calls wait already, for some 9"),
        "{text}"
    );
    // Nobody may wait for longer than a call may at all.
    assert!(door.enter(at(0, 0), None, much).is_err());
    assert!(door.enter(at(0, 0), patience(10_000), much).is_err());
}

#[test]
fn whoever_finds_nobody_waiting_is_let_in() {
    let (door, permits) = crowded();
    for permit in permits {
        permit.begin(&door);
    }
    let patience = Some(Duration::from_millis(1));
    let first = door.enter(at(0, 0), patience, Held::default).unwrap();
    // How long others waited says nothing any more.
    let second = door.enter(at(0, 0), patience, Held::default).unwrap();
    for permit in [first, second] {
        permit.begin(&door);
        permit.leave(&door);
    }
}

/// How many calls of one connection come in, while others have as many.
fn taken_by_one(door: &Admission, others: usize, begin: bool) -> usize {
    let mut own = 0;
    for _ in 0..others {
        let permit = door.enter(at(0, 0), None, Held::default).unwrap();
        if begin {
            permit.begin(door);
        }
    }
    while let Ok(permit) = door.enter(at(0, 0), None, || Held {
        waiting: own,
        lanes: 1,
        open: own,
    }) {
        own += 1;
        if begin {
            permit.begin(door);
        }
    }
    own
}

#[test]
fn nobody_takes_the_last_place_from_those_who_have_none() {
    let limits = |concurrency, queued| Limits {
        concurrency,
        queued,
        queue_time: Duration::from_secs(1),
    };
    let waiting = |others| {
        let door = Admission::new(limits(None, 900), Vec::new());
        let own = taken_by_one(&door, others, false);
        // Whoever comes now finds a place.
        door.enter(at(0, 0), None, Held::default)
            .unwrap()
            .begin(&door);
        own
    };
    assert_eq!(waiting(0), 800);
    assert_eq!(waiting(450), 400);
    let door = Admission::new(limits(Some(900), 10), Vec::new());
    assert_eq!(taken_by_one(&door, 0, true), 800);
    door.enter(at(0, 0), None, Held::default)
        .unwrap()
        .begin(&door);
}
