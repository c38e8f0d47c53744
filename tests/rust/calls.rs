//! Calls with answers, from a channel to a server that does as it is told: each call ends exactly
//! once, and at once when nothing more can come of it.
#![cfg(test)]

mod support;

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Instant;

use _core::call::{Ended, Outbound, Waiter};
use _core::net::client::Target;
use _core::status::{Code, Status};
use _core::wire::{Body, Checksum, Codec, Extras, OutgoingCall, Parts};
use bytes::Bytes;
use support::{
    Calls, ECHO, ELOGOFF, Folder, GRACE, House, KEEP, NO_LIMIT, PATIENCE, Place, SECRET, Scene,
    Setup, Talker, all, baidu, by_id, eventually, hulu, in_order, method, ms, number_in, numbered,
    outbound, padded, patient, payload, sofa,
};

/// All protocols with answers by id.

#[test]
fn each_answer_goes_to_its_call() {
    for codec in all() {
        let scene = Scene::new(&codec);
        let mut server = scene.connect();
        for number in 0..100 {
            scene.call(number);
        }
        let mut open: Vec<_> = (0..100).map(|_| server.next_call()).collect();
        scene.calls.assert_none_told();
        fastrand::Rng::with_seed(5).shuffle(&mut open);
        for (id, body) in open {
            server.answer(id, &body);
            let number = number_in(&body);
            assert_eq!(scene.calls.answer(number).body.bytes, body);
        }
        assert_eq!(scene.house.count("calls_sent_total"), 100);
        assert_eq!(scene.house.count("connects_total"), 1);
        assert_eq!(scene.house.count("late_replies_total"), 0);
    }
}

#[test]
fn answers_in_the_order_of_the_calls_need_no_ids() {
    for codec in [in_order(0), in_order(4)] {
        let scene = Scene::new(&codec);
        let mut server = scene.connect();
        let deliveries: Vec<_> = (0..20).map(|number| scene.call(number)).collect();
        scene.call_within(20, ms(30));
        scene.call(21);
        let open: Vec<_> = (0..22).map(|_| server.next_call()).collect();
        // Calls that nobody waits for any more keep their places until their answers came.
        deliveries[7].cancel();
        assert_eq!(scene.calls.failure(7).code, Code::Cancelled);
        assert_eq!(scene.calls.failure(20).code, Code::DeadlineExceeded);
        for (number, (id, body)) in (0..).zip(open) {
            server.answer(id, &body);
            if number != 7 && number != 20 {
                assert_eq!(scene.calls.answer(number).body.bytes, numbered(number));
            }
        }
        scene.calls.assert_none_told();
        assert_eq!(scene.house.count("late_replies_total"), 2);
        scene.call(22);
        scene.echo(&mut server, 22);
    }
}

#[test]
fn what_goes_beside_a_call_arrives_and_what_comes_beside_an_answer_too() {
    let (place, house) = (Place::new(&baidu()), House::new());
    let target = Target::Address(place.address.clone());
    let channel = house.caller(target, patient(), &baidu(), b"");
    let calls = Calls::new();
    let mut call = outbound(u32::from(ECHO), *b"message", NO_LIMIT);
    call.extras = Extras::from(Parts {
        attachment: Bytes::from_static(b"attachment"),
        metadata: vec![("key".to_owned(), "value".to_owned())],
        checksum: Checksum::MessageAndAttachment,
        ..Parts::default()
    });
    calls.make(&channel, 1, call.clone());
    let answer = calls.answer(1);
    assert_eq!(answer.body.bytes, b"message"[..]);
    assert_eq!(answer.extras.attachment(), b"attachment");
    call.method = method(u32::from(KEEP));
    calls.make(&channel, 2, call);
    let kept = place.desk.kept_one();
    assert_eq!(
        kept.extras.metadata(),
        [("key".to_owned(), "value".to_owned())]
    );
    kept.ticket.respond(&payload(b"kept"), &Extras::NONE);
    assert_eq!(calls.answer(2).body.bytes, b"kept"[..]);
}

#[test]
fn a_failure_carries_its_number_and_is_not_tried_again() {
    let scene = Scene::new(&baidu());
    let mut server = scene.connect();
    for (number, native, code) in [
        (0, 5005, Code::NotFound),
        (1, 2001, Code::Internal),
        (2, 1008, Code::DeadlineExceeded),
        (3, -7, Code::Unknown),
        (4, 1009, Code::Unavailable),
        (5, 5008, Code::ResourceExhausted),
    ] {
        scene.call(number);
        let (id, _) = server.next_call();
        server.fail(id, &Status::new(code, "as asked").with_native(native));
        let status = scene.calls.failure(number);
        assert_eq!((status.code, status.native), (code, Some(native)));
        assert_eq!(status.text, "as asked");
    }
    assert_eq!(scene.house.count("retries_total"), 0);
    assert_eq!(scene.house.count("calls_sent_total"), 6);
}

#[test]
fn a_call_that_cannot_be_sent_is_its_callers_mistake() {
    let scene = Scene::new(&sofa());
    let mut server = scene.connect();
    let large = outbound(1, vec![0; 5 << 20], NO_LIMIT);
    scene.calls.make(&scene.channel, 1, large);
    assert_eq!(
        scene.calls.told().1.unwrap_err().code,
        Code::InvalidArgument
    );
    let mut extra = outbound(1, *b"", NO_LIMIT);
    extra.extras.parts_mut().attachment = Bytes::from_static(b"not on this wire");
    scene.calls.make(&scene.channel, 2, extra);
    let status = scene.calls.told().1.unwrap_err();
    assert_eq!(status.code, Code::InvalidArgument);
    assert!(status.text.contains("attachment"), "{status}");
    scene.call(3);
    scene.echo(&mut server, 3);
    assert_eq!(scene.house.count("calls_sent_total"), 1);
}

/// The largest call that `codec` carries if nothing but an id goes along.
fn largest_call(codec: &Arc<dyn Codec>) -> Outbound {
    let fits = |length: &usize| {
        let call = outbound(u32::from(ECHO), vec![0; *length], NO_LIMIT);
        let outgoing = OutgoingCall {
            method: &call.method,
            id: Some(1),
            timeout: None,
            body: Body::from(&call.body),
            extras: &call.extras,
        };
        codec.call_head(&outgoing).is_ok()
    };
    let limit = usize::try_from(codec.limit()).unwrap();
    let length = (0..=limit).rev().find(fits).unwrap();
    outbound(u32::from(ECHO), vec![0; length], NO_LIMIT)
}

#[test]
fn a_call_that_is_too_large_with_what_the_first_one_says_is_found_before_it_waits() {
    for codec in [baidu(), hulu()] {
        let scene = Scene::with(&codec, patient(), SECRET);
        let call = largest_call(&codec);
        scene.calls.make(&scene.channel, 0, call.clone());
        let status = scene.calls.told().1.unwrap_err();
        assert_eq!(status.code, Code::InvalidArgument, "{status}");
        // Once the first call has said it, there is room.
        scene.call(1);
        let mut server = scene.accept();
        scene.echo(&mut server, 1);
        scene.calls.make(&scene.channel, 2, call);
        server.echo();
        scene.calls.answer(2);
    }
}

#[test]
fn a_call_that_has_become_too_large_while_it_waited_fails() {
    let codec = baidu();
    let scene = Scene::with(&codec, patient(), SECRET);
    let mut old = scene.connect();
    scene.call(0);
    scene.echo(&mut old, 0);
    let (told, heard) = sync_channel(1);
    let waiter = Waiter::new(move |end| told.send(end).unwrap());
    drop(scene.channel.call(largest_call(&codec), waiter));
    let (id, _) = old.next_call();
    let stopping = Status::new(Code::Unavailable, "stopping").with_native(ELOGOFF);
    old.fail(id, &stopping);
    // The next connection is to hear who calls, for which there is no room.
    let mut next = scene.accept();
    let Ended::Failed(status) = heard.recv_timeout(PATIENCE).unwrap() else {
        panic!("who made the call does not listen for a mistake any more")
    };
    assert_eq!(status.code, Code::InvalidArgument);
    assert!(status.text.contains("the limit is"), "{status}");
    scene.call(1);
    scene.echo(&mut next, 1);
}

#[test]
fn answers_that_nobody_waits_for_are_counted_and_passed_over() {
    for codec in all() {
        let scene = Scene::new(&codec);
        let mut server = scene.connect();
        scene.call(0);
        let (id, body) = server.next_call();
        server.answer(id.map(|id| id + 77), b"to nobody");
        scene.calls.assert_silent();
        assert_eq!(scene.house.count("late_replies_total"), 1);
        // Of two answers in one piece, the first one counts.
        let twice = [
            server.reply_frame(id, Ok(&body)),
            server.reply_frame(id, Ok(b"second")),
        ];
        server.peer.send(&twice.concat());
        assert_eq!(scene.calls.answer(0).body.bytes, numbered(0));
        eventually("the count", || scene.house.count("late_replies_total") == 2);
        scene.call(1);
        scene.echo(&mut server, 1);
        assert_eq!(scene.house.count("connects_total"), 1);
    }
}

/// What a server does to the callers of a protocol: what it sends, whether it then ends its side,
/// and how the connection ends by that.
type BadServer = (Arc<dyn Codec>, Vec<u8>, bool, &'static str);

fn bad_servers() -> Vec<BadServer> {
    let prpc = |body: u32, meta: u32, rest: &[u8]| {
        [&b"PRPC"[..], &body.to_be_bytes(), &meta.to_be_bytes(), rest].concat()
    };
    let text = "HTTP/1.1 400 Bad Request\r\n\r\n";
    vec![
        (baidu(), text.into(), false, "bad_magic"),
        (sofa(), text.into(), false, "bad_magic"),
        (by_id(), text.into(), false, "length_above_limit"),
        (baidu(), prpc(5 << 20, 4, b""), false, "length_above_limit"),
        (
            baidu(),
            prpc(u32::MAX, u32::MAX, b""),
            false,
            "length_above_limit",
        ),
        (baidu(), prpc(4, 5, b""), false, "bad_sizes"),
        (baidu(), prpc(4, 4, &[0xff; 4]), false, "bad_meta"),
        (by_id(), vec![3, 0, 0, 0], false, "length_below_header"),
        (baidu(), prpc(30, 4, b"half"), true, "truncated"),
        (baidu(), b"P".to_vec(), true, "truncated"),
        (baidu(), Vec::new(), true, "peer_closed"),
        (in_order(0), Vec::new(), true, "peer_closed"),
    ]
}

#[test]
fn calls_in_flight_end_at_once_when_no_answer_can_come() {
    for (codec, bad, ends, label) in bad_servers() {
        let scene = Scene::new(&codec);
        let mut server = scene.connect();
        for number in 0..5 {
            scene.call_within(number, GRACE);
        }
        for _ in 0..5 {
            server.next_call();
        }
        let start = Instant::now();
        server.peer.send(&bad);
        if ends {
            server.peer.end();
        }
        for number in 0..5 {
            let status = scene.calls.failure(number);
            assert_eq!(status.code, Code::Unavailable, "{label}: {status}");
            assert!(status.text.contains("was lost"), "{label}: {status}");
            assert_eq!(status.native, None);
        }
        assert!(start.elapsed() < GRACE / 4);
        // The next call takes another connection.
        scene.call(5);
        let mut next = scene.accept();
        scene.echo(&mut next, 5);
        drop(server);
        eventually("the end", || scene.house.count("connections") == 1);
        scene.house.counted("disconnects_total", &[(label, 1)]);
        assert_eq!(scene.house.count("calls_sent_total"), 6);
    }
}

#[test]
fn an_answer_out_of_order_ends_the_connection() {
    // Before any call, and with the id of the call behind the one whose turn it is.
    for calls in [0, 2] {
        let scene = Scene::new(&in_order(4));
        let mut server = scene.connect();
        for number in 0..calls {
            scene.call(number);
        }
        let ids: Vec<_> = (0..calls).map(|_| server.next_call().0).collect();
        let id = ids.last().copied().unwrap_or(Some(1));
        server.answer(id, b"not yours");
        for number in 0..calls {
            assert_eq!(scene.calls.failure(number).code, Code::Unavailable);
        }
        server.assert_end();
        drop(server);
        eventually("the end", || scene.house.count("connections") == 0);
        scene
            .house
            .counted("disconnects_total", &[("unexpected_reply", 1)]);
    }
}

#[test]
fn a_call_that_has_to_wait_is_cancelled_before_and_after_it_is_sent() {
    let (house, folder) = (House::new(), Folder::new());
    let target = Target::Address(folder.address());
    let channel = house.caller(target, patient(), &baidu(), b"");
    let calls = Calls::new();
    let unsent = calls.call(&channel, ECHO, 0, NO_LIMIT);
    let sent = calls.call(&channel, ECHO, 1, NO_LIMIT);
    unsent.cancel();
    unsent.cancel();
    // Whoever waits is told before this returns.
    assert_eq!(calls.told().1.unwrap_err().code, Code::Cancelled);
    let listener = std::os::unix::net::UnixListener::bind(folder.file("socket")).unwrap();
    let mut server = Talker::accept(&listener, &baidu());
    let (id, body) = server.next_call();
    assert_eq!(body, numbered(1));
    sent.cancel();
    assert_eq!(calls.told().1.unwrap_err().code, Code::Cancelled);
    server.answer(id, &body);
    eventually("the count", || house.count("late_replies_total") == 1);
    server.assert_silent(ms(30));
    calls.assert_none_told();
    assert_eq!(house.count("calls_sent_total"), 1);
}

#[test]
fn a_call_is_cancelled_while_it_runs_and_not_afterwards() {
    for codec in all() {
        let scene = Scene::new(&codec);
        let mut server = scene.connect();
        let delivery = scene.call(0);
        let (id, body) = server.next_call();
        delivery.cancel();
        // Whoever waits is told before this returns.
        assert_eq!(scene.calls.told().1.unwrap_err().code, Code::Cancelled);
        delivery.cancel();
        server.answer(id, &body);
        eventually("the count", || scene.house.count("late_replies_total") == 1);

        let delivery = scene.call(1);
        scene.echo(&mut server, 1);
        delivery.cancel();
        scene.calls.assert_silent();
        scene.call(2);
        scene.echo(&mut server, 2);
    }
}

#[test]
fn calls_that_are_cancelled_while_their_answers_come_end_once() {
    let (place, house) = (Place::new(&baidu()), House::new());
    let target = Target::Address(place.address.clone());
    let channel = house.caller(target, patient(), &baidu(), b"");
    let calls = Calls::new();
    let (hand, taken) = std::sync::mpsc::channel();
    let canceller = thread::spawn(move || {
        let mut random = fastrand::Rng::with_seed(11);
        for delivery in taken {
            if random.bool() {
                thread::yield_now();
            }
            let delivery: _core::net::client::Delivery = delivery;
            delivery.cancel();
        }
    });
    for number in 0..3000 {
        hand.send(calls.call(&channel, ECHO, number, Some(GRACE)))
            .unwrap();
    }
    drop(hand);
    canceller.join().unwrap();
    let rest = calls.rest();
    assert!(rest.iter().map(|(number, _)| *number).eq(0..3000));
    for (number, outcome) in rest {
        match outcome {
            Ok(answer) => assert_eq!(answer.body.bytes, numbered(number)),
            Err(status) => assert_eq!(status.code, Code::Cancelled),
        }
    }
    eventually("all ended", || place.house.count("calls_in_flight") == 0);
}

#[test]
fn a_deadline_goes_along_and_ends_the_call_on_time() {
    let scene = Scene::new(&baidu());
    let mut server = scene.connect();
    scene.call_within(0, GRACE);
    let start = Instant::now();
    scene.call_within(1, ms(100));
    let calls = [server.called().unwrap(), server.called().unwrap()];
    assert!((ms(3000)..=GRACE).contains(&calls[0].timeout.unwrap()));
    assert!((ms(1)..=ms(100)).contains(&calls[1].timeout.unwrap()));
    let status = scene.calls.failure(1);
    assert!((ms(100)..ms(1500)).contains(&start.elapsed()));
    assert_eq!(status.code, Code::DeadlineExceeded);
    assert!(status.text.starts_with("no answer from unix:"), "{status}");
    server.answer(calls[1].id, b"late");
    server.answer(calls[0].id, b"in time");
    assert_eq!(scene.calls.answer(0).body.bytes, b"in time"[..]);
    assert_eq!(scene.house.count("late_replies_total"), 1);
    // One that has passed already is not sent at all.
    let mut past = outbound(1, *b"", NO_LIMIT);
    past.deadline = Some(Instant::now());
    scene.calls.make(&scene.channel, 2, past);
    assert_eq!(scene.calls.failure(2).code, Code::DeadlineExceeded);
    scene.call(3);
    assert!(server.called().unwrap().timeout.is_none());
    assert_eq!(scene.house.count("calls_sent_total"), 3);
}

/// A server that answers whatever comes up to the end of the connection, and says what that was.
fn echo_all(mut server: Talker) -> thread::JoinHandle<Vec<u32>> {
    thread::spawn(move || {
        let mut seen = Vec::new();
        while let Some(call) = server.called() {
            let body = call.body.unwrap().bytes;
            server.answer(call.id, &body);
            seen.push(number_in(&body));
        }
        seen.sort_unstable();
        seen
    })
}

/// Calls with a body each, so that the socket takes few of them and the connection not all.
fn call_much(scene: &Scene, count: u32) {
    for number in 0..count {
        let body = padded(number, 100_000);
        let call = outbound(1, body, Some(GRACE));
        scene.calls.make(&scene.channel, number, call);
    }
    thread::sleep(ms(20));
    scene.calls.assert_none_told();
}

#[test]
fn what_was_not_sent_is_sent_again_and_what_was_begun_is_not() {
    let scene = Scene::new(&baidu());
    let server = scene.connect();
    call_much(&scene, 80);
    drop(server);
    let next = echo_all(scene.accept());
    let (mut answered, mut failed) = (Vec::new(), Vec::new());
    for _ in 0..80 {
        match scene.calls.next() {
            (number, Ok(answer)) => {
                assert_eq!(answer.body.bytes.len(), 100_004);
                answered.push(number);
            }
            (number, Err(status)) => {
                assert_eq!(status.code, Code::Unavailable, "{status}");
                failed.push(number);
            }
        }
    }
    scene.house.close(&scene.channel, GRACE);
    answered.sort_unstable();
    let seen = next.join().unwrap();
    assert_eq!(
        seen, answered,
        "once each, and none that was told to have failed"
    );
    // Those that the socket took, whole or in part.
    assert!((1..20).contains(&failed.len()), "{failed:?}");
    assert!((0..20).contains(failed.iter().max().unwrap()), "{failed:?}");
    assert_eq!(scene.calls.rest(), []);
}

#[test]
fn a_server_that_ended_its_side_is_waited_for_no_more() {
    let scene = Scene::new(&baidu());
    let mut server = scene.connect();
    call_much(&scene, 80);
    // It has read one call and says that it will say nothing more; what it was sent is in its way.
    let (id, body) = server.next_call();
    server.answer(id, &body);
    server.peer.end();
    let next = echo_all(scene.accept());
    let outcomes: Vec<_> = (0..80).map(|_| scene.calls.next()).collect();
    let answered = outcomes.iter().filter(|(_, outcome)| outcome.is_ok());
    assert!(answered.count() > 60);
    scene.house.close(&scene.channel, GRACE);
    assert!(next.join().unwrap().len() > 60);
}

#[test]
fn a_close_waits_for_answers() {
    let scene = Scene::new(&baidu());
    let mut server = scene.connect();
    scene.call(0);
    scene.call(1);
    let answers = thread::spawn(move || {
        let open = [server.next_call(), server.next_call()];
        thread::sleep(ms(60));
        for (id, body) in open {
            server.answer(id, &body);
        }
        server.assert_end();
    });
    let start = Instant::now();
    scene.house.close(&scene.channel, GRACE);
    assert!((ms(60)..GRACE / 2).contains(&start.elapsed()));
    for number in 0..2 {
        assert_eq!(scene.calls.told(), (number, Ok(echoed(number))));
    }
    answers.join().unwrap();
    scene.call(2);
    let status = scene.calls.failure(2);
    assert_eq!(status.code, Code::Unavailable);
    assert!(status.text.contains("is closed"), "{status}");
    assert!(!scene.channel.is_connected());
    eventually("the end", || scene.house.count("connections") == 0);
    scene.house.counted("disconnects_total", &[("closed", 1)]);
}

fn echoed(number: u32) -> _core::call::Answer {
    _core::call::Answer {
        body: payload(&numbered(number)),
        extras: Extras::default(),
    }
}

#[test]
fn a_close_cuts_after_its_grace() {
    let scene = Scene::new(&baidu());
    let mut server = scene.connect();
    for number in 0..10 {
        scene.call(number);
    }
    for _ in 0..10 {
        server.next_call();
    }
    let start = Instant::now();
    scene.house.close(&scene.channel, ms(100));
    assert!((ms(100)..GRACE / 2).contains(&start.elapsed()));
    for number in 0..10 {
        assert_eq!(scene.calls.failure(number).code, Code::Unavailable);
    }
    server.assert_end();
    scene.assert_no_connection();
}

#[test]
fn a_runtime_that_is_dropped_tells_each_call_once() {
    let mut scene = Scene::new(&baidu());
    let _server = scene.connect();
    // In flight, in the way of the socket, and waiting for room behind them.
    for number in 0..100 {
        let body = padded(number, 100_000);
        let limit = (number % 3 == 0).then_some(GRACE);
        let call = outbound(1, body, limit);
        scene.calls.make(&scene.channel, number, call);
    }
    thread::sleep(ms(20));
    scene.calls.assert_none_told();
    scene.house.stop_runtime();
    scene.call(100);
    let rest = scene.calls.rest();
    assert!(rest.iter().map(|(number, _)| *number).eq(0..=100));
    for (number, outcome) in rest {
        let status = outcome.unwrap_err();
        assert_eq!(status.code, Code::Unavailable, "{number}: {status}");
        assert!(status.text.contains("shut down"), "{number}: {status}");
    }
}

#[test]
fn many_threads_call_over_one_connection() {
    for codec in all() {
        let (place, house) = (Place::new(&codec), House::new());
        let target = Target::Address(place.address.clone());
        let channel = house.caller(target, patient(), &codec, b"");
        let callers: Vec<_> = (0..4u32)
            .map(|caller| {
                let channel = Arc::clone(&channel);
                thread::spawn(move || {
                    let calls = Calls::new();
                    for number in 0..500 {
                        calls.call(&channel, ECHO, caller << 16 | number, Some(GRACE));
                    }
                    let rest = calls.rest();
                    assert_eq!(rest.len(), 500);
                    for (number, outcome) in rest {
                        assert_eq!(outcome.unwrap().body.bytes, numbered(number));
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.join().unwrap();
        }
        assert_eq!(place.desk.ran(ECHO), 2000);
        assert_eq!(house.count("connects_total"), 1);
        assert_eq!(house.count("late_replies_total"), 0);
        house.close(&channel, GRACE);
        eventually("the end", || place.house.count("connections") == 0);
    }
}

#[test]
fn as_many_calls_wait_for_answers_as_may() {
    const PENDING: u32 = 65_536;
    let scene = Scene::new(&in_order(0));
    let mut server = scene.connect();
    let reader = thread::spawn(move || {
        for number in 0..PENDING {
            assert_eq!(number_in(&server.next_call().1), number);
        }
        server
    });
    for number in 0..PENDING {
        scene.call(number);
    }
    let mut server = reader.join().unwrap();
    scene.calls.assert_none_told();
    scene.call(PENDING);
    let status = scene.calls.failure(PENDING);
    assert_eq!(status.code, Code::ResourceExhausted);
    assert!(status.text.contains("65536 calls"), "{status}");
    server.answer(None, b"first");
    assert_eq!(scene.calls.answer(0).body.bytes, b"first"[..]);
    scene.call(PENDING);
    drop(server);
    let lost = (0..PENDING).filter(|_| scene.calls.next().1.is_err());
    assert_eq!(lost.count(), PENDING as usize);
    assert_eq!(scene.calls.rest(), []);
}

#[test]
fn a_server_of_this_process_is_called_without_a_socket_that_others_see() {
    for codec in all() {
        let house = House::new();
        let (server, desk) = house.desk(Setup::of(&codec));
        let target = Target::Local(Arc::downgrade(&server));
        assert_eq!(target.to_string(), "memory");
        let channel = house.caller(target, patient(), &codec, b"");
        let calls = Calls::new();
        for number in 0..50 {
            calls.call(&channel, ECHO, number, Some(GRACE));
        }
        for _ in 0..50 {
            let (number, outcome) = calls.next();
            assert_eq!(outcome.unwrap().body.bytes, numbered(number));
        }
        assert_eq!(desk.link(0).peer(), "memory");
        house.stop(&server, GRACE);
        // Nobody is let in any more.
        calls.call(&channel, ECHO, 50, Some(ms(60)));
        let status = calls.failure(50);
        assert_eq!(status.code, Code::DeadlineExceeded);
        assert!(status.text.contains("refused"), "{status}");
    }
}
