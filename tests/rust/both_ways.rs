//! Channels that serve their server: both ends call and answer over one connection.
#![cfg(test)]

mod support;

use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use _core::call::{CloseKind, CloseReason, Ended, Link, Waiter};
use _core::net::client::{ChannelOptions, Target};
use _core::status::Code;
use _core::wire::Extras;
use support::{
    Calls, ECHO, ELOGOFF, Folder, GRACE, House, KEEP, NO_LIMIT, NOTE, Place, Talker, WAIT, baidu,
    eventually, greeting, ms, number_in, numbered, outbound, padded, patient, payload, sofa,
};

#[test]
fn both_ends_call_and_answer_over_one_connection() {
    let (place, house) = (Place::new(&baidu()), House::new());
    let (channel, desk) = house.serving_caller(&place.address, patient(), &baidu());
    let (calls, back) = (Calls::new(), Calls::new());
    calls.call(&channel, ECHO, 0, NO_LIMIT);
    calls.answer(0);
    let link = place.desk.link(0);
    let pusher = {
        let link = Arc::clone(&link);
        thread::spawn(move || {
            for number in 0..500 {
                let call = outbound(u32::from(ECHO), numbered(number), Some(GRACE));
                link.call(&call, back.waiter(number));
            }
            back.rest()
        })
    };
    for number in 1..500 {
        calls.call(&channel, ECHO, number, NO_LIMIT);
    }
    for rest in [calls.rest(), pusher.join().unwrap()] {
        assert!((499..=500).contains(&rest.len()));
        for (number, outcome) in rest {
            assert_eq!(outcome.unwrap().body.bytes, numbered(number));
        }
    }
    assert_eq!((place.desk.ran(ECHO), desk.ran(ECHO)), (500, 500));
    assert_eq!(house.count("connects_total"), 1);
    house.close(&channel, GRACE);
    eventually("the end", || place.house.count("connections") == 0);
    assert_eq!(
        link.call(&outbound(1, *b"", None), Calls::new().waiter(0)),
        None
    );
}

#[test]
fn a_server_s_own_calls_have_ids_that_no_client_of_brpc_uses() {
    let place = Place::new(&baidu());
    let mut caller = Talker::connect_both(&place.address, &place.codec);
    caller.call_with(1, ECHO, b"first", &greeting(true));
    assert_eq!(caller.answered(), (1, b"first".to_vec()));
    let (link, calls) = (place.desk.link(0), Calls::new());
    for number in 0..3 {
        link.call(&outbound(1, numbered(number), None), calls.waiter(number));
        let (id, body) = caller.next_call();
        assert!(id.is_some_and(|id| id > 1 << 63), "{id:?}");
        caller.answer(id, &body);
        assert_eq!(calls.answer(number).body.bytes, numbered(number));
    }
}

#[test]
fn an_announcement_that_comes_back_with_an_answer_is_not_for_the_caller() {
    let (place, house) = (Place::new(&baidu()), House::new());
    let target = Target::Address(place.address.clone());
    let channel = house.caller(target, patient(), &baidu(), b"");
    let calls = Calls::new();
    calls.call(&channel, KEEP, 1, NO_LIMIT);
    let kept = place.desk.kept_one();
    let mut extras = greeting(false);
    let key = ("key".to_owned(), "value".to_owned());
    extras.parts_mut().metadata.push(key.clone());
    kept.ticket.respond(&payload(b""), &extras);
    assert_eq!(calls.answer(1).extras.metadata(), [key]);
}

/// Keeps an I/O thread busy until the sender is gone.
fn stall(house: &House) -> Sender<()> {
    let (go, gone) = channel::<()>();
    house.runtime().handle().spawn(async move { gone.recv() });
    go
}

#[test]
fn both_ends_may_have_much_to_answer_at_once() {
    // More, on either side, than may wait to be written before an end stops to read calls.
    let large = vec![7; 100_000];
    let (folder, house) = (Folder::new(), House::new());
    let place = Place::at(&folder.address(), &baidu(), |_| {});
    let (caller, desk) = house.serving_caller(&place.address, patient(), &baidu());
    let (calls, back) = (Calls::new(), Calls::new());
    calls.call(&caller, ECHO, 1000, NO_LIMIT);
    calls.answer(1000);
    let link = place.desk.link(0);
    for number in 0..100 {
        calls.call(&caller, KEEP, number, NO_LIMIT);
        let push = outbound(u32::from(KEEP), numbered(number), None);
        link.call(&push, back.waiter(number));
    }
    let kept = [place.desk.kept(100), desk.kept(100)];
    // Nothing is read while the answers are made, so that both ends have too much to write.
    let stalled = [stall(&house), stall(&place.house)];
    for call in kept.into_iter().flatten() {
        call.ticket.respond(&payload(&large), &Extras::NONE);
    }
    drop(stalled);
    let start = Instant::now();
    for calls in [&calls, &back] {
        for _ in 0..100 {
            let left = GRACE.saturating_sub(start.elapsed());
            let (_, outcome) = calls
                .next_within(left)
                .expect("both ends wait for each other");
            assert_eq!(outcome.unwrap().body.bytes, large);
        }
    }
}

#[test]
fn both_ends_may_call_much_and_answer_much_at_once() {
    const CALLS: u32 = 1500;
    let (folder, house) = (Folder::new(), House::new());
    let place = Place::at(&folder.address(), &baidu(), |_| {});
    let (caller, _desk) = house.serving_caller(&place.address, patient(), &baidu());
    let (calls, back) = (Calls::new(), Calls::new());
    calls.call(&caller, ECHO, CALLS, NO_LIMIT);
    calls.answer(CALLS);
    let link = place.desk.link(0);
    let call = |number: u32| outbound(u32::from(ECHO), padded(number, 10_000), None);
    let start = Instant::now();
    let pusher = thread::spawn(move || {
        let mut left: Vec<u32> = (0..CALLS).collect();
        let mut under_way = 0;
        while (under_way > 0 || !left.is_empty()) && start.elapsed() < GRACE {
            while under_way < 300
                && let Some(number) = left.pop()
            {
                link.call(&call(number), back.waiter(number));
                under_way += 1;
            }
            match back.next_within(ms(100)) {
                None => continue,
                Some((_, Ok(_))) => {}
                // Nothing waits for room at this end; who is refused has to come again.
                Some((number, Err(status))) => {
                    assert_eq!(status.code, Code::ResourceExhausted, "{status}");
                    left.push(number);
                    thread::sleep(ms(1));
                }
            }
            under_way -= 1;
        }
        left.len() + under_way
    });
    for number in 0..CALLS {
        calls.make(&caller, number, call(number));
    }
    let mut answered = 0;
    while answered < CALLS && start.elapsed() < GRACE {
        if let Some((_, outcome)) = calls.next_within(ms(100)) {
            outcome.unwrap();
            answered += 1;
        }
    }
    assert_eq!((answered, pusher.join().unwrap()), (CALLS, 0));
}

/// A channel with `service=` whose server has called its method that waits at the gate.
fn busy_channel(
    house: &House,
    folder: &Folder,
) -> (Arc<_core::net::client::Channel>, UnixListener, Talker) {
    let listener = UnixListener::bind(folder.file("socket")).unwrap();
    let (channel, desk) = house.serving_caller(&folder.address(), patient(), &baidu());
    let calls = Calls::new();
    calls.call(&channel, NOTE, 0, Some(GRACE));
    let mut server = Talker::accept_both(&listener, &baidu());
    let (id, _) = server.next_call();
    server.answer(id, b"");
    calls.answer(0);
    house.gate.shut();
    server.call(1, WAIT, b"slow");
    eventually("a busy handler", || desk.ran(WAIT) == 1);
    (channel, listener, server)
}

#[test]
fn a_deadline_passes_while_a_lost_connection_has_a_handler_running() {
    let (house, folder) = (House::new(), Folder::new());
    let (channel, listener, server) = busy_channel(&house, &folder);
    drop(listener);
    server.peer.end();
    thread::sleep(ms(30));
    let calls = Calls::new();
    let start = Instant::now();
    calls.call(&channel, ECHO, 1, Some(ms(200)));
    let (_, outcome) = calls.next_within(ms(3000)).expect("the call never ends");
    assert_eq!(outcome.unwrap_err().code, Code::DeadlineExceeded);
    assert!(start.elapsed() < ms(2000));
}

#[test]
fn a_channel_connects_again_while_a_handler_of_the_lost_connection_runs() {
    let (house, folder) = (House::new(), Folder::new());
    let (channel, listener, server) = busy_channel(&house, &folder);
    server.peer.end();
    let calls = Calls::new();
    calls.call(&channel, ECHO, 1, Some(GRACE));
    let mut next = Talker::accept_both(&listener, &baidu());
    assert_eq!(next.echo(), numbered(1));
    assert_eq!(calls.answer(1).body.bytes, numbered(1));
}

#[test]
fn a_handler_of_a_lost_connection_holds_up_nothing_of_the_next_one() {
    let (house, folder) = (House::new(), Folder::new());
    let (channel, listener, server) = busy_channel(&house, &folder);
    server.peer.end();
    let calls = Calls::new();
    calls.call(&channel, ECHO, 1, Some(GRACE));
    let mut next = Talker::accept_both(&listener, &baidu());
    next.echo();
    calls.answer(1);
    for id in 0..3 {
        next.call(id, ECHO, b"push");
        assert_eq!(next.answered(), (id, b"push".to_vec()));
    }
    // What waits on either is counted.
    for id in 0..4 {
        next.call(id, WAIT, b"");
    }
    eventually("the call that waits", || channel.queued_calls() == 1);
    drop(server);
}

#[test]
fn a_channel_whose_service_closes_its_connection_calls_over_another_one() {
    let (house, folder) = (House::new(), Folder::new());
    let listener = UnixListener::bind(folder.file("socket")).unwrap();
    let (channel, desk) = house.serving_caller(&folder.address(), patient(), &baidu());
    let calls = Calls::new();
    calls.call(&channel, ECHO, 0, Some(GRACE));
    let mut server = Talker::accept_both(&listener, &baidu());
    server.echo();
    calls.answer(0);
    server.call(1, KEEP, b"under way");
    let kept = desk.kept_one();
    let reason = CloseReason::new(CloseKind::Closed, "closed by this end");
    desk.link(0).finish(reason);
    calls.call(&channel, ECHO, 1, Some(GRACE));
    let mut next = Talker::accept_both(&listener, &baidu());
    next.echo();
    calls.answer(1);
    server.call(2, ECHO, b"too late");
    assert_eq!(server.failed().1.native, Some(ELOGOFF));
    kept.ticket.respond(&payload(b"done"), &Extras::NONE);
    assert_eq!(server.answered(), (1, b"done".to_vec()));
    server.assert_end();
}

/// Calls the peer and waits for the answer, as a handler does that blocks.
fn ask(link: &Arc<dyn Link>, body: &[u8], limit: Duration) -> Option<Ended> {
    let (told, heard) = sync_channel(1);
    let waiter = Waiter::new(move |end| drop(told.send(end)));
    link.call(&outbound(u32::from(ECHO), body, Some(limit)), waiter);
    heard.recv_timeout(limit * 2).ok()
}

#[test]
fn who_calls_back_gets_its_answer_while_many_calls_of_that_peer_wait() {
    let (place, house) = (Place::new(&baidu()), House::new());
    let (channel, _desk) = house.serving_caller(&place.address, patient(), &baidu());
    let calls = Calls::new();
    calls.call(&channel, ECHO, 0, NO_LIMIT);
    calls.answer(0);
    let link = place.desk.link(0);
    // All workers are in handlers, and behind them more waits than a lane takes.
    place.house.gate.shut();
    for number in 0..support::WORKERS {
        calls.call(&channel, WAIT, u32::try_from(number).unwrap(), NO_LIMIT);
    }
    eventually("busy workers", || place.desk.ran(WAIT) == support::WORKERS);
    for number in 100..180 {
        let call = outbound(u32::from(NOTE), vec![7; 100_000], NO_LIMIT);
        calls.make(&channel, number, call);
    }
    thread::sleep(ms(50));
    // One of the handlers calls back.
    let end = ask(&link, b"back", ms(500));
    let Some(Ended::Answered(answer)) = end else {
        panic!("{end:?}")
    };
    assert_eq!(answer.body, payload(b"back"));
}

#[test]
fn a_channel_that_serves_comes_back_by_itself_and_says_so_again() {
    let (house, folder) = (House::new(), Folder::new());
    let listener = UnixListener::bind(folder.file("socket")).unwrap();
    let options = ChannelOptions {
        keep_connected: true,
        ..patient()
    };
    let (channel, _desk) = house.serving_caller(&folder.address(), options, &baidu());
    let calls = Calls::new();
    for round in 0..3 {
        calls.call(&channel, ECHO, round, Some(GRACE));
        let mut server = Talker::accept_both(&listener, &baidu());
        let call = server.called().unwrap();
        assert_eq!(call.extras.metadata(), greeting(true).metadata());
        server.answer(call.id, &numbered(round));
        calls.answer(round);
        server.call(7, ECHO, b"push");
        assert_eq!(server.answered(), (7, b"push".to_vec()));
    }
    house.close(&channel, GRACE);
}

#[test]
fn a_wire_without_room_for_a_greeting_takes_no_calls_back() {
    let (place, house) = (Place::new(&sofa()), House::new());
    let (channel, desk) = house.serving_caller(&place.address, patient(), &sofa());
    let calls = Calls::new();
    calls.call(&channel, ECHO, 0, NO_LIMIT);
    calls.answer(0);
    let link = place.desk.link(0);
    link.call(&outbound(u32::from(ECHO), *b"push", None), calls.waiter(1));
    assert_eq!(calls.failure(1).code, Code::Unimplemented);
    calls.call(&channel, ECHO, 2, NO_LIMIT);
    assert_eq!(number_in(&calls.answer(2).body.bytes), 2);
    assert_eq!(desk.ran(ECHO), 0);
}
