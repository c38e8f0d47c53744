//! What waits is bounded, whatever it is made of: requests with all that came beside them, answers
//! before their turn, refusals that nobody reads.
#![cfg(test)]

mod support;

use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread;

use _core::net::client::Target;
use _core::status::Code;
use _core::wire::{Body, Extras, MethodName, OutgoingCall, Parts};
use bytes::Bytes;
use support::{
    Calls, ECHO, ELIMIT, Folder, GRACE, House, KEEP, NO_LIMIT, Place, Talker, WAIT, WORKERS, baidu,
    credential, eventually, in_order, ms, numbered, outbound, padded, patient, payload,
};

/// An attachment of which the bound on waiting requests takes nineteen.
const LARGE: usize = 3_500_000;

fn attached(bytes: usize) -> Extras {
    Extras::from(Parts {
        attachment: Bytes::from(vec![7; bytes]),
        ..Parts::default()
    })
}

#[test]
fn attachments_of_calls_that_wait_at_a_server_are_counted() {
    let place = Place::new(&baidu());
    place.house.gate.shut();
    let mut caller = place.caller();
    for id in 0..WORKERS as u64 {
        caller.call(id, WAIT, b"");
    }
    eventually("busy workers", || place.desk.ran(WAIT) == WORKERS);
    let extras = attached(LARGE);
    for id in 100..130 {
        caller.call_with(id, ECHO, b"small", &extras);
    }
    for _ in 0..10 {
        let (id, status) = caller.failed();
        assert!(id >= 119, "{id}");
        assert_eq!(status.native, Some(ELIMIT));
        assert!(status.text.contains("wait on this connection"), "{status}");
    }
    assert_eq!(place.server.queued_calls(), 20);
}

#[test]
fn attachments_of_calls_that_wait_for_a_connection_are_counted() {
    let (house, folder) = (House::new(), Folder::new());
    let target = Target::Address(folder.address());
    let channel = house.caller(target, patient(), &baidu(), b"");
    let calls = Calls::new();
    for number in 0..30 {
        let mut call = outbound(u32::from(ECHO), numbered(number), NO_LIMIT);
        call.extras = attached(LARGE);
        calls.make(&channel, number, call);
    }
    for number in 19..30 {
        let status = calls.failure(number);
        assert_eq!(status.code, Code::ResourceExhausted);
        assert!(status.text.contains("wait already"), "{status}");
    }
    calls.assert_none_told();
}

#[test]
fn a_small_call_holds_on_to_nothing_of_what_came_with_it() {
    let place = Place::new(&baidu());
    let mut caller = place.caller();
    let mut extras = credential(b"who calls");
    extras.parts_mut().attachment = Bytes::from_static(b"a");
    let stream: Vec<u8> = (0..3)
        .flat_map(|id| caller.call_frame(id, KEEP, b"", None, &extras))
        .collect();
    caller.peer.send(&stream);
    for call in place.desk.kept(3) {
        let parts = call.extras.parts().unwrap();
        assert_eq!(parts.attachment, b"a"[..]);
        assert!(parts.attachment.is_unique());
        assert_eq!(parts.credential, b""[..]);
    }
}

/// Calls that are answered at once, all behind one that is not; how many of them may have run.
fn answers_before_their_turn(more: usize, most: usize) {
    const CALLS: u32 = 3000;
    let place = Place::new(&in_order(4));
    let mut caller = place.caller();
    caller.call(0, KEEP, &numbered(0));
    let first = place.desk.kept_one();
    let stream: Vec<u8> = (1..=CALLS)
        .flat_map(|n| caller.frame(u64::from(n), ECHO, &padded(n, more)))
        .collect();
    let mut writer = caller.peer.share();
    let writer = thread::spawn(move || writer.send(&stream));
    eventually("some calls", || place.desk.ran(ECHO) > most / 2);
    thread::sleep(ms(300));
    let (ran, read) = (
        place.desk.ran(ECHO),
        place.house.count("calls_received_total"),
    );
    assert!(ran <= most, "{ran} ran");
    assert!(read < 2500, "{read} were read");
    // All are answered once the first one is, in their order.
    assert!(first.ticket.respond(&first.body, &Extras::NONE));
    for number in 0..=CALLS {
        assert_eq!(caller.answered().0, u64::from(number));
    }
    writer.join().unwrap();
    assert_eq!(place.desk.ran(ECHO), CALLS as usize);
}

#[test]
fn answers_that_are_ready_before_their_turn_are_bounded_in_bytes() {
    // 42 of them make 4 MiB.
    answers_before_their_turn(100_000, 42 + 2 * WORKERS);
}

#[test]
fn answers_that_are_ready_before_their_turn_are_bounded_in_number() {
    answers_before_their_turn(0, 1024 + 2 * WORKERS);
}

#[test]
fn a_connection_that_is_lost_behind_answers_before_their_turn_is_let_go() {
    let place = Place::new(&in_order(4));
    let mut caller = place.caller();
    caller.call(0, KEEP, b"");
    let first = place.desk.kept_one();
    for number in 1..=60 {
        caller.call(u64::from(number), ECHO, &padded(number, 100_000));
    }
    eventually("many answers", || place.desk.ran(ECHO) > 40);
    place.house.stop(&place.server, ms(50));
    eventually("the end", || place.desk.closes().len() == 1);
    assert!(!first.ticket.respond(&first.body, &Extras::NONE));
}

/// A server of the next connection, to which a channel with `service=` has said hello.
fn hello(house: &House, folder: &Folder) -> (Arc<_core::net::client::Channel>, Talker) {
    let listener = UnixListener::bind(folder.file("socket")).unwrap();
    let (channel, _desk) = house.serving_caller(&folder.address(), patient(), &baidu());
    let calls = Calls::new();
    calls.call(&channel, ECHO, 0, Some(GRACE));
    let mut server = Talker::accept_both(&listener, &baidu());
    server.echo();
    calls.answer(0);
    (channel, server)
}

#[test]
fn a_server_that_calls_and_reads_no_refusals_is_let_go() {
    let (house, folder) = (House::new(), Folder::new());
    let (_channel, mut server) = hello(&house, &folder);
    // Its name stands in the refusal.
    let method = MethodName {
        service: "game.Desk".to_owned(),
        method: "x".repeat(10_000),
        index: 0,
    };
    let (body, extras) = (payload(b""), Extras::default());
    let call = OutgoingCall {
        method: &method,
        id: Some(1),
        timeout: None,
        body: Body::from(&body),
        extras: &extras,
    };
    let head = baidu().call_head(&call).unwrap();
    let sent = (0..6000).take_while(|_| server.peer.try_send(head.as_slice()).is_ok());
    let sent = sent.count();
    // 16 MiB of refusals, and what the sockets take.
    assert!((1600..3000).contains(&sent), "{sent}");
    house.counted("disconnects_total", &[("write_failed", 1)]);
}

#[test]
fn calls_that_ended_while_they_waited_make_room_at_once() {
    let (house, folder) = (House::new(), Folder::new());
    let (_channel, mut server) = hello(&house, &folder);
    house.gate.shut();
    for id in 0..WORKERS as u64 {
        server.call(id, WAIT, b"");
    }
    thread::sleep(ms(50));
    for id in 0..1024 {
        server.call_within(100 + id, ECHO, b"", ms(300));
    }
    for _ in 0..1024 {
        assert_eq!(server.failed().1.code, Code::DeadlineExceeded);
    }
    server.call(5000, ECHO, b"there is room");
    server.assert_silent(ms(100));
    house.gate.open();
    let mut answered: Vec<_> = (0..=WORKERS).map(|_| server.answered().0).collect();
    answered.sort_unstable();
    assert_eq!(answered.last(), Some(&5000));
}
