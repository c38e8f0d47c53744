//! Workers that move bytes themselves, and what becomes of everybody else when one is held up.
#![cfg(test)]

mod support;

use std::future::pending;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Instant;

use _core::net::Runtime;
use _core::status::Code;
use support::{ECHO, KEEP, Place, Talker, WAIT, WORKERS, all, baidu, by_id, eventually, ms};

/// Sends calls in one segment.
fn send_at_once(talker: &mut Talker, calls: &[(u16, u64)]) {
    let frame = |&(index, id)| talker.frame(id, index, b"body");
    let frames: Vec<u8> = calls.iter().flat_map(frame).collect();
    talker.peer.send(&frames);
}

fn echo(talker: &mut Talker, ids: std::ops::Range<u64>) {
    for id in ids {
        send_at_once(talker, &[(ECHO, id)]);
        assert_eq!(talker.answered().0, id);
    }
}

#[test]
fn a_worker_with_nothing_to_do_moves_the_bytes() {
    let place = Place::new(&by_id());
    echo(&mut place.caller(), 0..20);
    // There may be one guest only, so that the test is refused when there is one.
    let driver = place.house.runtime().driver();
    eventually("a worker to drive", || driver.drive(async {}).is_none());
}

#[test]
fn a_worker_that_is_held_up_holds_up_nobody_else() {
    for codec in all() {
        let place = Place::new(&codec);
        place.house.gate.shut();
        let (mut one, mut other) = (place.caller(), place.caller());
        echo(&mut other, 0..20);
        send_at_once(&mut one, &[(WAIT, 100)]);
        echo(&mut other, 20..40);
        place.house.gate.open();
        assert_eq!(one.answered().0, 100);
    }
}

#[test]
fn answers_before_a_call_that_takes_long_are_written_while_it_runs() {
    for codec in all() {
        let place = Place::new(&codec);
        place.house.gate.shut();
        let mut talker = place.caller();
        send_at_once(&mut talker, &[(ECHO, 1), (ECHO, 2), (WAIT, 3)]);
        let mut early = [talker.answered().0, talker.answered().0];
        early.sort_unstable();
        assert_eq!(early, [1, 2]);
        place.house.gate.open();
        assert_eq!(talker.answered().0, 3);
    }
}

#[test]
fn as_many_are_held_up_as_there_are_workers_and_the_rest_follow() {
    let place = Place::new(&baidu());
    place.house.gate.shut();
    let mut talkers: Vec<_> = (0..12).map(|_| place.caller()).collect();
    for (id, talker) in (0..).zip(&mut talkers) {
        send_at_once(talker, &[(WAIT, id)]);
    }
    eventually("all workers to be held up", || {
        place.desk.ran(WAIT) == WORKERS
    });
    place.house.gate.open();
    for (id, talker) in (0..).zip(&mut talkers) {
        assert_eq!(talker.answered().0, id);
    }
}

#[test]
fn deadlines_are_kept_while_all_workers_are_held_up() {
    let place = Place::new(&baidu());
    place.house.gate.shut();
    let mut talkers: Vec<_> = (0..WORKERS).map(|_| place.caller()).collect();
    for (id, talker) in (0..).zip(&mut talkers) {
        send_at_once(talker, &[(WAIT, id)]);
    }
    eventually("all workers to be held up", || {
        place.desk.ran(WAIT) == WORKERS
    });
    let mut late = place.caller();
    let start = Instant::now();
    late.call_within(9, KEEP, b"body", ms(100));
    let (id, status) = late.failed();
    let waited = start.elapsed();
    assert_eq!((id, status.code), (9, Code::DeadlineExceeded));
    assert!(waited >= ms(100) && waited < ms(2000), "{waited:?}");
    place.house.gate.open();
}

#[test]
fn the_io_thread_moves_bytes_when_no_guest_does() {
    let runtime = Runtime::start().unwrap();
    let (told, heard) = channel();
    let name = || thread::current().name().map(str::to_owned);
    let ask = |told: std::sync::mpsc::Sender<_>| {
        runtime.handle().spawn(async move {
            told.send(name()).unwrap();
        });
    };
    ask(told.clone());
    assert_eq!(heard.recv().unwrap().as_deref(), Some("callmethod-io"));
    // A guest drives for a while, and goes.
    let driver = runtime.driver();
    let guest = thread::Builder::new().name("guest".to_owned());
    thread::scope(|scope| {
        let (asked, told) = (runtime.handle(), told.clone());
        guest
            .spawn_scoped(scope, move || {
                let (done, waited) = tokio::sync::oneshot::channel();
                asked.spawn(async move {
                    told.send(name()).unwrap();
                    done.send(()).unwrap();
                });
                driver.drive(waited).unwrap().unwrap();
            })
            .unwrap();
    });
    // Who of the two was first is open; that somebody was is not.
    heard.recv().unwrap();
    for _ in 0..3 {
        ask(told.clone());
        assert_eq!(heard.recv().unwrap().as_deref(), Some("callmethod-io"));
        thread::sleep(ms(100));
    }
}

#[test]
fn there_is_one_guest_and_it_leaves_when_the_runtime_ends() {
    let runtime = Runtime::start().unwrap();
    let driver = runtime.driver().clone();
    let (told, heard) = channel();
    let guest = thread::spawn(move || {
        driver.drive(async {
            told.send(()).unwrap();
            pending::<()>().await;
        })
    });
    heard.recv().unwrap();
    assert_eq!(runtime.driver().drive(async { 1 }), None, "another drives");
    // What it drives goes on.
    assert_eq!(runtime.run(async { 7 }).unwrap(), 7);
    let driver = runtime.driver().clone();
    drop(runtime);
    assert_eq!(guest.join().unwrap(), None);
    assert_eq!(driver.drive(async { 1 }), None, "it has ended");
}

#[test]
fn bytes_are_moved_after_a_long_rest_and_after_a_burst() {
    let place = Place::new(&by_id());
    let mut talker = place.caller();
    for pause in [0, 1, 5, 60, 200, 0, 70] {
        thread::sleep(ms(pause));
        echo(&mut talker, 0..50);
    }
}
