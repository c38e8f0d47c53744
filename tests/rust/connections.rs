//! How many connections a server takes, and how long it waits for what is to come on them.
#![cfg(test)]

mod support;

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use _core::metrics::{Counters, Value};
use support::{ECHO, Peer, Place, Talker, all, baidu, eventually, ms};
use tokio::task::yield_now;

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

fn connections(counters: &Counters) -> u64 {
    let mut all = counters.snapshot().into_iter();
    match all.find(|(name, _)| *name == "connections") {
        Some((_, Value::Number(number))) => number,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_storm_of_connects_holds_up_nobody_who_is_there() {
    const STORM: usize = 300;
    const AT_ONCE: u64 = 16;
    let place = Place::new(&baidu());
    let counters = Arc::clone(&place.house.counters);
    let (go, stands) = mpsc::channel::<()>();
    let (sender, steps) = mpsc::channel();
    place.house.runtime().handle().spawn(async move {
        // Nobody is let in meanwhile.
        let _ = stands.recv();
        let (mut seen, mut most) = (0, 0);
        while seen < STORM as u64 {
            // All that is ready has its turn.
            yield_now().await;
            let now = connections(&counters);
            (seen, most) = (now, most.max(now - seen));
        }
        sender.send(most).unwrap();
    });
    let _storm: Vec<_> = (0..STORM)
        .map(|_| Peer::connect(&place.address).unwrap())
        .collect();
    drop(go);
    let most = steps.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(most <= AT_ONCE, "{most} were let in while others waited");
}
