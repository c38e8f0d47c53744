//! How a server stops on wires with answers: what runs is answered, what is new is sent away.
#![cfg(test)]

mod support;

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use _core::call::{CloseKind, GOAWAY};
use _core::net::Stream;
use _core::net::server::Cut;
use _core::status::Code;
use _core::wire::Extras;
use support::{
    ECHO, ELOGOFF, KEEP, Peer, Place, WAIT, WORKERS, all, baidu, by_id, eventually, greeting,
    in_order, ms, payload,
};

const LONG: Duration = Duration::from_secs(10);

#[test]
fn a_stop_answers_what_runs_and_refuses_what_is_new() {
    let place = Place::new(&baidu());
    let mut busy = place.caller();
    busy.call(1, KEEP, b"running");
    let running = place.desk.kept_one();
    let mut idle = place.caller();
    idle.call(1, ECHO, b"");
    idle.answered();
    let mut silent = place.caller();
    place.desk.link(2);
    let start = Instant::now();
    let stopping = place.stop(LONG);
    // Idle strangers hear of it at once, by the end of the stream and nothing else.
    idle.assert_end();
    silent.assert_end();
    assert!(start.elapsed() < LONG / 4);
    busy.call(2, ECHO, b"too late");
    let (id, status) = busy.failed();
    assert_eq!((id, status.native), (2, Some(ELOGOFF)));
    assert_eq!(status.code, Code::Unavailable);
    assert!(running.ticket.respond(&payload(b"done"), &Extras::NONE));
    assert_eq!(busy.answered(), (1, b"done".to_vec()));
    busy.assert_end();
    drop((busy, idle, silent));
    assert_eq!(stopping.join().unwrap(), Cut::default());
    assert!(start.elapsed() < LONG / 2);
    place.house.counted("rejected_total", &[("stopping", 1)]);
    assert_eq!(place.desk.ran(ECHO), 1);
    assert_eq!(place.desk.closes(), [CloseKind::ServerStopped; 3]);
    assert!(Peer::connect(&place.address).is_err());
}

#[test]
fn a_stop_tells_those_who_understand_to_move_on() {
    let place = Place::new(&baidu());
    let mut idle = place.caller();
    idle.call_with(1, ECHO, b"hello", &greeting(false));
    assert_eq!(idle.answered().0, 1);
    let mut busy = place.caller();
    busy.call_with(1, KEEP, b"", &greeting(true));
    let running = place.desk.kept_one();
    // Nobody but the server hears of the greeting.
    assert_eq!(running.extras.metadata(), []);
    let start = Instant::now();
    let stopping = place.stop(LONG);
    for caller in [&mut idle, &mut busy] {
        let (id, status) = caller.failed();
        assert_eq!((id, status.native), (GOAWAY, Some(ELOGOFF)));
        // The end of the stream is theirs to say.
        caller.assert_silent(ms(50));
    }
    idle.call(2, ECHO, b"did not listen");
    assert_eq!(idle.failed().1.native, Some(ELOGOFF));
    assert!(running.ticket.respond(&payload(b"done"), &Extras::NONE));
    assert_eq!(busy.answered(), (1, b"done".to_vec()));
    for mut caller in [idle, busy] {
        caller.peer.end();
        caller.assert_end();
    }
    assert_eq!(stopping.join().unwrap(), Cut::default());
    assert!(start.elapsed() < LONG / 2);
}

#[test]
fn a_stop_that_cannot_refuse_runs_what_is_new_until_all_is_answered() {
    for codec in [by_id(), in_order(4)] {
        let place = Place::new(&codec);
        let mut busy = place.caller();
        busy.call(1, KEEP, b"running");
        let running = place.desk.kept_one();
        let mut idle = place.caller();
        place.desk.link(1);
        let stopping = place.stop(LONG);
        idle.assert_end();
        busy.call(2, ECHO, b"new");
        eventually("the new call", || place.desk.ran(ECHO) == 1);
        assert!(running.ticket.respond(&payload(b"done"), &Extras::NONE));
        let mut answers = [busy.answered(), busy.answered()];
        answers.sort();
        assert_eq!(answers, [(1, b"done".to_vec()), (2, b"new".to_vec())]);
        busy.assert_end();
        drop((busy, idle));
        assert_eq!(stopping.join().unwrap(), Cut::default());
    }
}

#[test]
fn a_stop_cuts_what_does_not_end_and_says_what_that_was() {
    let place = Place::new(&baidu());
    place.house.gate.shut();
    let mut stuck = place.caller();
    stuck.call(1, KEEP, b"never answered");
    let kept = place.desk.kept_one();
    for id in 0..WORKERS as u64 {
        stuck.call(10 + id, WAIT, b"");
    }
    eventually("busy workers", || place.desk.ran(WAIT) == WORKERS);
    for id in 100..103 {
        stuck.call(id, ECHO, b"");
    }
    eventually("the queue", || place.server.queued_calls() == 3);
    let cut = place.stop(ms(100)).join().unwrap();
    let expected = Cut {
        connections: 1,
        calls: 3,
        running: 1,
    };
    assert_eq!(cut, expected);
    for id in 100..103 {
        let (of, status) = stuck.failed();
        assert_eq!((of, status.native), (id, Some(ELOGOFF)));
    }
    stuck.assert_end();
    assert!(kept.ticket.is_cancelled());
    assert!(!kept.ticket.respond(&payload(b""), &Extras::NONE));
    place.house.gate.open();
    eventually("the end", || {
        place.desk.closes() == [CloseKind::ServerStopped]
    });
    // Those that waited, that which was kept, and those that ran.
    let cancelled = 3 + 1 + WORKERS as u64;
    place
        .house
        .counted("calls_total", &[("CANCELLED", cancelled)]);
}

#[test]
fn a_stop_lets_go_of_callers_whose_protocol_is_not_known() {
    let place = Place::with(&baidu(), |setup| setup.codecs = all());
    let mut silent = place.caller();
    let mut slow = place.caller();
    slow.peer.send(b"PR");
    thread::sleep(ms(30));
    let stopping = place.stop(LONG);
    silent.assert_end();
    slow.assert_end();
    assert_eq!(stopping.join().unwrap(), Cut::default());
    assert_eq!(place.desk.happened(), []);
}

/// Hands a connection to a server, as the acceptor does; its other end.
fn welcome(place: &Place) -> UnixStream {
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let (server, handle) = (Arc::clone(&place.server), place.house.runtime().handle());
    let accepted = async move {
        let stream = Stream::unix(tokio::net::UnixStream::from_std(theirs).unwrap());
        server.welcome(&handle, stream, "somebody".to_owned());
    };
    place.house.runtime().run(accepted).unwrap();
    ours
}

#[test]
fn a_connection_that_was_accepted_just_before_the_end_is_cut_like_the_others() {
    for abandoned in [false, true] {
        let place = Place::new(&baidu());
        // Its task begins when the others have been cut.
        if abandoned {
            place.server.abandon();
        } else {
            place.house.stop(&place.server, Duration::ZERO);
        }
        let mut late = Peer::unix(welcome(&place));
        assert_eq!(late.drain_bytes(), b"");
        eventually("the end", || place.house.count("connections") == 0);
        place
            .house
            .counted("disconnects_total", &[("server_stopped", 1)]);
    }
}
