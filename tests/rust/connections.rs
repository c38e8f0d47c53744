//! How many connections a server takes, and how long it waits for what is to come on them.
#![cfg(test)]

mod support;

use std::time::{Duration, Instant};

use support::{ECHO, Peer, Place, Talker, all, baidu, eventually, ms};

const MOST: usize = 3;

fn place() -> Place {
    Place::with(&baidu(), |setup| setup.bounds.connections = MOST)
}

/// A caller that is served.
fn seated(place: &Place, id: u64) -> Talker {
    let mut caller = place.caller();
    caller.call(id, ECHO, b"in");
    assert_eq!(caller.answered(), (id, b"in".to_vec()));
    caller
}

#[test]
fn as_many_as_may_be_are_served_and_one_more_is_closed_at_once() {
    let place = place();
    let mut callers: Vec<_> = (1..MOST as u64).map(|id| seated(&place, id)).collect();
    callers.push(seated(&place, MOST as u64));
    assert_eq!(place.house.count("rejected_total"), 0);
    let start = Instant::now();
    for _ in 0..20 {
        let mut late = Peer::connect(&place.address).unwrap();
        assert_eq!(late.drain_bytes(), b"");
    }
    assert!(start.elapsed() < Duration::from_secs(5));
    let turned_away = [("too_many_connections", 20)];
    place.house.counted("rejected_total", &turned_away);
    place.house.counted("disconnects_total", &turned_away);
    assert_eq!(place.house.count("connections"), MOST as u64);
    // Those who are in do not notice, and one that goes makes room for one.
    for (id, caller) in (10..).zip(&mut callers) {
        caller.call(id, ECHO, b"still in");
        assert_eq!(caller.answered(), (id, b"still in".to_vec()));
    }
    callers.pop();
    eventually("a seat", || place.house.count("connections") < MOST as u64);
    callers.push(seated(&place, 20));
    let mut late = Peer::connect(&place.address).unwrap();
    assert_eq!(late.drain_bytes(), b"");
}

#[test]
fn whoever_has_not_said_its_protocol_has_a_place_too() {
    let place = Place::with(&baidu(), |setup| {
        setup.codecs = all();
        setup.bounds.connections = MOST;
        setup.bounds.handshake_timeout = ms(300);
    });
    let mut silent: Vec<_> = (0..MOST)
        .map(|_| Peer::connect(&place.address).unwrap())
        .collect();
    let mut late = Peer::connect(&place.address).unwrap();
    assert_eq!(late.drain_bytes(), b"");
    // They lose it when their time is up.
    for peer in &mut silent {
        assert_eq!(peer.drain_bytes(), b"");
    }
    seated(&place, 1);
}
