//! Calls that a server did not run are made again; a server that stops is left; and channels with
//! a connection for each call.
#![cfg(test)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use _core::call::GOAWAY;
use _core::net::client::{ChannelOptions, Target};
use _core::status::{Code, Status};
use support::{
    Calls, ECHO, ELIMIT, ELOGOFF, Folder, GRACE, House, KEEP, NO_LIMIT, Place, SECRET, Scene,
    Setup, Talker, baidu, done, eventually, hulu, ms, numbered, outbound, patient, sofa,
};

fn tries(max_retry: u32) -> ChannelOptions {
    ChannelOptions {
        max_retry,
        ..patient()
    }
}

fn pooled(most: usize) -> ChannelOptions {
    ChannelOptions {
        pooled: Some(most),
        ..patient()
    }
}

fn elogoff() -> Status {
    Status::new(Code::Unavailable, "stopping").with_native(ELOGOFF)
}

fn elimit() -> Status {
    Status::new(Code::ResourceExhausted, "too much").with_native(ELIMIT)
}

/// Says to the next call, which is this one, that it was not run.
#[track_caller]
fn refuse(server: &mut Talker, number: u32, status: &Status) {
    let (id, body) = server.next_call();
    assert_eq!(body, numbered(number));
    server.fail(id, status);
}

#[test]
fn a_call_that_an_overloaded_server_refused_is_made_again() {
    for (max_retry, refusals) in [(3, 1), (3, 3), (1, 1)] {
        let scene = Scene::with(&baidu(), tries(max_retry), b"");
        let mut server = scene.connect();
        scene.call(0);
        for _ in 0..refusals {
            refuse(&mut server, 0, &elimit());
        }
        scene.echo(&mut server, 0);
        assert_eq!(scene.house.count("retries_total"), refusals);
        assert_eq!(scene.house.count("calls_sent_total"), 1 + refusals);
        assert_eq!(scene.house.count("connects_total"), 1);
    }
}

#[test]
fn a_call_is_made_again_so_many_times_and_no_more() {
    for max_retry in [0, 1, 3] {
        // Sent at once, and after having waited for the connection.
        for waits in [false, true] {
            let scene = Scene::with(&baidu(), tries(max_retry), b"");
            let connected = (!waits).then(|| scene.connect());
            scene.call(0);
            let mut server = connected.unwrap_or_else(|| scene.accept());
            for _ in 0..=max_retry {
                refuse(&mut server, 0, &elimit());
            }
            let status = scene.calls.failure(0);
            assert_eq!(status, elimit());
            server.assert_silent(ms(50));
            assert_eq!(scene.house.count("retries_total"), u64::from(max_retry));
        }
    }
}

#[test]
fn an_overloaded_server_is_given_a_moment_before_it_is_asked_again() {
    let scene = Scene::new(&baidu());
    let mut server = scene.connect();
    scene.call(0);
    for _ in 0..3 {
        let (id, _) = server.next_call();
        let told = Instant::now();
        server.fail(id, &elimit());
        server.wait();
        // Half of the shortest pause, at least.
        assert!(told.elapsed() >= ms(4), "{:?}", told.elapsed());
    }
    scene.echo(&mut server, 0);
}

#[test]
fn a_call_that_is_refused_up_to_its_deadline_says_so() {
    let scene = Scene::with(&baidu(), tries(1_000), b"");
    let server = scene.connect();
    let start = Instant::now();
    scene.call_within(0, ms(150));
    let refusing = thread::spawn(move || {
        let mut server = server;
        while let Some(call) = server.called() {
            server.fail(call.id, &elimit());
        }
    });
    let status = scene.calls.failure(0);
    assert!((ms(150)..ms(1500)).contains(&start.elapsed()));
    assert_eq!(status.code, Code::DeadlineExceeded);
    assert!(!status.text.contains("does not read"), "{status}");
    scene.house.close(&scene.channel, GRACE);
    refusing.join().unwrap();
}

#[test]
fn calls_between_their_tries_are_counted_among_those_that_wait() {
    let scene = Scene::with(&baidu(), tries(1_000), b"");
    let server = scene.connect();
    let refusing = thread::spawn(move || {
        let mut server = server;
        while let Some(call) = server.called() {
            server.fail(call.id, &elimit());
        }
    });
    // Together they are more than may wait, of either half there is room for all.
    for half in 0..2 {
        for number in 0..12 {
            let body = vec![7; 3_900_000];
            let call = outbound(u32::from(ECHO), body, Some(GRACE));
            scene.calls.make(&scene.channel, half * 12 + number, call);
            thread::sleep(ms(10));
        }
        if half == 0 {
            scene.calls.assert_none_told();
            // Until their pauses are long.
            eventually("some tries", || scene.house.count("retries_total") > 80);
        }
    }
    for _ in 0..4 {
        let (_, outcome) = scene.calls.next();
        let status = outcome.unwrap_err();
        assert_eq!(status.code, Code::ResourceExhausted, "{status}");
        assert!(status.text.contains("wait already"), "{status}");
    }
    scene.house.close(&scene.channel, ms(0));
    refusing.join().unwrap();
}

#[test]
fn a_call_can_be_cancelled_between_its_tries() {
    let scene = Scene::with(&baidu(), tries(1_000), b"");
    let server = scene.connect();
    let delivery = scene.call(0);
    let refusing = thread::spawn(move || {
        let mut server = server;
        let mut tries = 0;
        while let Some(call) = server.called() {
            server.fail(call.id, &elimit());
            tries += 1;
        }
        tries
    });
    eventually("some tries", || scene.house.count("retries_total") >= 3);
    delivery.cancel();
    assert_eq!(scene.calls.failure(0).code, Code::Cancelled);
    scene.calls.assert_silent();
    let sent = scene.house.count("calls_sent_total");
    thread::sleep(ms(300));
    assert_eq!(scene.house.count("calls_sent_total"), sent);
    scene.house.close(&scene.channel, GRACE);
    assert_eq!(refusing.join().unwrap(), sent);
}

#[test]
fn a_server_that_stops_is_left_while_old_calls_end_there() {
    let scene = Scene::new(&baidu());
    let mut old = scene.connect();
    scene.call(0);
    let (kept, _) = old.next_call();
    scene.call(1);
    refuse(&mut old, 1, &elogoff());
    let mut new = scene.accept();
    scene.echo(&mut new, 1);
    assert_eq!(scene.house.count("retries_total"), 1);
    for number in 2..5 {
        scene.call(number);
        scene.echo(&mut new, number);
    }
    old.assert_silent(ms(30));
    old.answer(kept, &numbered(0));
    assert_eq!(scene.calls.answer(0).body.bytes, numbered(0));
    // Nothing is under way there any more.
    old.assert_end();
    drop(old);
    eventually("the end", || scene.house.count("connections") == 1);
    scene.call(5);
    scene.echo(&mut new, 5);
    assert_eq!(scene.house.count("connects_total"), 2);
}

#[test]
fn a_call_that_every_server_turns_away_fails_in_the_end() {
    let scene = Scene::new(&baidu());
    scene.call(0);
    for _ in 0..4 {
        let mut server = scene.accept();
        refuse(&mut server, 0, &elogoff());
        server.assert_end();
    }
    assert_eq!(scene.calls.failure(0), elogoff());
    assert_eq!(scene.house.count("retries_total"), 3);
    scene.assert_no_connection();

    let scene = Scene::with(&baidu(), tries(0), b"");
    let mut server = scene.connect();
    scene.call(0);
    refuse(&mut server, 0, &elogoff());
    assert_eq!(scene.calls.failure(0), elogoff());
    server.assert_end();
}

#[test]
fn a_server_says_that_it_stops_without_a_call_to_say_it_to() {
    let scene = Scene::new(&baidu());
    let mut old = scene.connect();
    scene.call(0);
    let (kept, _) = old.next_call();
    old.fail(Some(GOAWAY), &elogoff());
    eventually("the word", || !scene.channel.is_connected());
    scene.calls.assert_none_told();
    scene.call(1);
    let mut new = scene.accept();
    scene.echo(&mut new, 1);
    old.answer(kept, &numbered(0));
    assert_eq!(scene.calls.answer(0).body.bytes, numbered(0));
    old.assert_end();
    // An idle connection goes at once, and nobody needs another.
    new.fail(Some(GOAWAY), &elogoff());
    new.assert_end();
    scene.assert_no_connection();
    assert_eq!(scene.house.count("retries_total"), 0);
    assert_eq!(scene.house.count("late_replies_total"), 0);
}

#[test]
fn a_connection_that_was_left_does_not_stay_for_a_server_that_never_closes() {
    let scene = Scene::new(&baidu());
    let mut server = scene.connect();
    scene.call(0);
    scene.echo(&mut server, 0);
    server.fail(Some(GOAWAY), &elogoff());
    // It reads our end of stream and keeps its own side open.
    server.assert_end();
    let start = Instant::now();
    eventually("the end", || scene.house.count("connections") == 0);
    assert!(start.elapsed() < GRACE, "{:?}", start.elapsed());
    drop(server);
}

#[test]
fn a_closing_channel_waits_for_answers_on_the_connections_that_it_left() {
    let scene = Scene::new(&baidu());
    let mut old = scene.connect();
    scene.call(0);
    let (kept, _) = old.next_call();
    old.fail(Some(GOAWAY), &elogoff());
    eventually("the word", || !scene.channel.is_connected());
    scene.call(1);
    let mut new = scene.accept();
    scene.echo(&mut new, 1);
    let answer = thread::spawn(move || {
        thread::sleep(ms(50));
        old.answer(kept, &numbered(0));
        old.assert_end();
        new.assert_end();
    });
    scene.house.close(&scene.channel, GRACE);
    assert_eq!(scene.calls.told().1.unwrap().body.bytes, numbered(0));
    answer.join().unwrap();
}

#[test]
fn the_first_call_of_each_connection_says_who_calls() {
    for (codec, says_so, understands) in [
        (baidu(), true, true),
        (hulu(), true, false),
        (sofa(), false, false),
    ] {
        let scene = Scene::with(&codec, patient(), SECRET);
        let mut servers = Vec::new();
        for connection in 0..2 {
            scene.call(0);
            let mut server = scene.accept();
            for number in 0..3 {
                let call = server.called().unwrap();
                let first = number == 0;
                let credential = if first && says_so { SECRET } else { b"" };
                assert_eq!(
                    call.extras.credential(),
                    credential,
                    "{connection} {number}"
                );
                let greeting = ("callmethod-peer".to_owned(), "goaway".to_owned());
                let expected: &[_] = if first && understands {
                    &[greeting]
                } else {
                    &[]
                };
                assert_eq!(call.extras.metadata(), expected);
                server.answer(call.id, &numbered(0));
                scene.calls.answer(0);
                if number < 2 {
                    scene.call(0);
                }
            }
            server.peer.end();
            server.assert_end();
            eventually("the end", || !scene.channel.is_connected());
            servers.push(server);
        }
    }
}

#[test]
fn servers_that_follow_one_another_fail_no_call() {
    let (ours, folder) = (House::new(), Folder::new());
    let houses: Vec<_> = (0..4).map(|_| House::new()).collect();
    let target = Target::Address(folder.address());
    let channel = ours.caller(target, patient(), &baidu(), b"");
    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..3u32)
        .map(|caller| {
            let (channel, over) = (Arc::clone(&channel), Arc::clone(&over));
            thread::spawn(move || {
                let calls = Calls::new();
                let mut made = 0;
                while !over.load(Ordering::Relaxed) {
                    for number in made..made + 5 {
                        calls.call(&channel, ECHO, caller << 24 | number, Some(GRACE));
                    }
                    for _ in 0..5 {
                        let (number, outcome) = calls.next();
                        let answer = outcome.unwrap();
                        assert_eq!(answer.body.bytes, numbered(number));
                    }
                    made += 5;
                }
                made
            })
        })
        .collect();
    for house in &houses {
        let setup = Setup::of(&baidu());
        let (server, ..) = house.serve_desk(&folder.address(), setup);
        let before = house.count("calls_received_total");
        eventually("calls", || {
            house.count("calls_received_total") > before + 50
        });
        assert_eq!(
            house.stop(&server, GRACE),
            _core::net::server::Cut::default()
        );
    }
    let (_last, ..) = houses[0].serve_desk(&folder.address(), Setup::of(&baidu()));
    over.store(true, Ordering::Relaxed);
    let made: u32 = callers
        .into_iter()
        .map(|caller| caller.join().unwrap())
        .sum();
    assert!(made > 200, "{made}");
    assert!(ours.count("connects_total") >= 4);
}

#[test]
fn a_pool_has_a_connection_for_each_call_up_to_its_bound() {
    let scene = Scene::with(&baidu(), pooled(3), b"");
    let mut servers = Vec::new();
    for number in 0..3 {
        scene.call(number);
        let mut server = scene.accept();
        let (id, body) = server.next_call();
        assert_eq!(body, numbered(number));
        servers.push((server, id));
    }
    scene.call(3);
    let status = scene.calls.told().1.unwrap_err();
    assert_eq!(status.code, Code::ResourceExhausted);
    assert!(status.text.contains("all 3 connections"), "{status}");
    assert_eq!(status.native, None);
    // The one whose call was answered last is used first.
    for number in [0, 2, 1] {
        let (server, id) = &mut servers[number as usize];
        server.answer(*id, &numbered(number));
        assert_eq!(scene.calls.answer(number).body.bytes, numbered(number));
    }
    for number in 4..14 {
        scene.call(number);
        scene.echo(&mut servers[1].0, number);
    }
    scene.call(20);
    scene.call(21);
    assert_eq!(servers[1].0.next_call().1, numbered(20));
    assert_eq!(servers[2].0.next_call().1, numbered(21));
    assert_eq!(scene.house.count("connects_total"), 3);
    scene.assert_no_connection();
}

#[test]
fn a_failure_that_the_server_named_keeps_a_pooled_connection() {
    let scene = Scene::with(&baidu(), pooled(1), b"");
    scene.call(0);
    let mut server = scene.accept();
    refuse(&mut server, 0, &Status::new(Code::NotFound, "none"));
    assert_eq!(scene.calls.failure(0).code, Code::NotFound);
    scene.call(1);
    refuse(&mut server, 1, &elimit());
    scene.echo(&mut server, 1);
    assert_eq!(scene.house.count("connects_total"), 1);
}

#[test]
fn a_pooled_connection_is_dropped_after_a_call_without_an_answer() {
    let scene = Scene::with(&baidu(), pooled(1), b"");
    let delivery = scene.call(0);
    let mut server = scene.accept();
    server.next_call();
    delivery.cancel();
    assert_eq!(scene.calls.failure(0).code, Code::Cancelled);
    server.assert_end();

    scene.call_within(1, ms(60));
    let mut server = scene.accept();
    server.next_call();
    assert_eq!(scene.calls.failure(1).code, Code::DeadlineExceeded);
    server.assert_end();

    scene.call(2);
    let mut server = scene.accept();
    server.next_call();
    drop(server);
    assert_eq!(scene.calls.failure(2).code, Code::Unavailable);

    scene.call(3);
    let mut server = scene.accept();
    scene.echo(&mut server, 3);
}

#[test]
fn a_call_right_after_a_cancelled_one_does_not_meet_its_connection() {
    let (place, house) = (Place::new(&baidu()), House::new());
    let target = Target::Address(place.address.clone());
    let channel = house.caller(target, pooled(1), &baidu(), b"");
    let calls = Calls::new();
    for round in 0..50 {
        // The connection is there, so that both calls are made at once.
        calls.call(&channel, ECHO, 0, Some(GRACE));
        calls.answer(0);
        let delivery = calls.call(&channel, KEEP, 1, NO_LIMIT);
        let kept = place.desk.kept_one();
        delivery.cancel();
        assert_eq!(calls.told().1.unwrap_err().code, Code::Cancelled);
        calls.call(&channel, ECHO, 2, Some(GRACE));
        let (_, outcome) = calls.next();
        assert!(outcome.is_ok(), "round {round}: {outcome:?}");
        drop(kept);
    }
}

#[test]
fn a_pool_moves_on_from_a_server_that_stops() {
    let scene = Scene::with(&baidu(), pooled(2), b"");
    scene.call(0);
    let mut server = scene.accept();
    refuse(&mut server, 0, &elogoff());
    let mut next = scene.accept();
    scene.echo(&mut next, 0);
    server.assert_end();
    scene.call(1);
    scene.echo(&mut next, 1);
    // An idle one that is told so is not used again.
    next.fail(Some(GOAWAY), &elogoff());
    next.assert_end();
    drop(next);
    scene.call(2);
    let mut last = scene.accept();
    scene.echo(&mut last, 2);
}

#[test]
fn a_pool_is_closed_like_any_channel() {
    let scene = Scene::with(&baidu(), pooled(3), b"");
    drop(scene.channel.connect(NO_LIMIT, scene.calls.waiter(9)));
    let mut first = scene.accept();
    assert_eq!(scene.calls.next(), (9, done()));
    assert!(scene.channel.is_connected());
    scene.call(0);
    scene.call(1);
    let mut second = scene.accept();
    let (kept, _) = first.next_call();
    second.next_call();
    let answers = thread::spawn(move || {
        thread::sleep(ms(40));
        first.answer(kept, b"answered");
        first.assert_end();
        second.assert_end();
    });
    let start = Instant::now();
    scene.house.close(&scene.channel, ms(200));
    assert!((ms(150)..GRACE / 2).contains(&start.elapsed()));
    assert_eq!(scene.calls.answer(0).body.bytes, b"answered"[..]);
    assert_eq!(scene.calls.failure(1).code, Code::Unavailable);
    answers.join().unwrap();
    scene.call(2);
    let status = scene.calls.failure(2);
    assert_eq!(status.code, Code::Unavailable);
    assert!(status.text.contains("is closed"), "{status}");
    scene.assert_no_connection();
}

#[test]
fn a_closing_pool_waits_for_all_its_connections_at_once() {
    let scene = Scene::with(&baidu(), pooled(2), b"");
    scene.call(0);
    let mut silent = scene.accept();
    silent.next_call();
    scene.call(1);
    let mut other = scene.accept();
    let (id, _) = other.next_call();
    let answer = thread::spawn(move || {
        thread::sleep(ms(50));
        other.answer(id, b"answered");
        // It is closed then, whatever the first one still waits for.
        let start = Instant::now();
        other.assert_end();
        start.elapsed()
    });
    scene.house.close(&scene.channel, ms(3000));
    assert_eq!(scene.calls.answer(1).body.bytes, b"answered"[..]);
    assert_eq!(scene.calls.failure(0).code, Code::Unavailable);
    let waited = answer.join().unwrap();
    assert!(waited < ms(1500), "{waited:?}");
}

#[test]
fn many_calls_through_a_pool_are_answered_once_each() {
    let (place, house) = (Place::new(&baidu()), House::new());
    let target = Target::Address(place.address.clone());
    let channel = house.caller(target, pooled(4), &baidu(), b"");
    let callers: Vec<_> = (0..4u32)
        .map(|caller| {
            let channel = Arc::clone(&channel);
            thread::spawn(move || {
                let calls = Calls::new();
                for number in 0..200 {
                    let number = caller << 16 | number;
                    let call = outbound(u32::from(ECHO), numbered(number), Some(GRACE));
                    calls.make(&channel, number, call);
                    assert_eq!(calls.answer(number).body.bytes, numbered(number));
                }
            })
        })
        .collect();
    for caller in callers {
        caller.join().unwrap();
    }
    assert!(house.count("connects_total") <= 4);
    assert_eq!(house.count("late_replies_total"), 0);
    house.close(&channel, GRACE);
    eventually("the end", || house.count("connections") == 0);
}
