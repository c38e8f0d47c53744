//! A server on wires with answers, on real sockets, without Python: each call is answered once.
#![cfg(test)]

mod support;

use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use _core::call::{CloseKind, CloseReason, LossListener, RejectReason};
use _core::status::{Code, Status};
use _core::wire::{Extras, Payload};
use bytes::Bytes;
use support::{
    Calls, ECHO, ELIMIT, ELOGOFF, ERESPONSE, ERPCTIMEDOUT, Folder, Happened, KEEP, Mourner, Place,
    Talker, WAIT, WORKERS, all, baidu, by_id, eventually, greeting, in_order, loopback, ms,
    number_in, numbered, outbound, payload, reset,
};

const LONG: Duration = Duration::from_secs(10);

#[test]
fn calls_in_flight_are_answered_in_whatever_order_they_end() {
    let folder = Folder::new();
    for address in [loopback(), folder.address()] {
        let place = Place::at(&address, &baidu(), |_| {});
        let mut caller = place.caller();
        let stream: Vec<u8> = (0..300)
            .flat_map(|n| caller.frame(u64::from(n) + 1000, KEEP, &numbered(n)))
            .collect();
        caller.peer.send(&stream);
        let mut kept = place.desk.kept(300);
        fastrand::Rng::with_seed(7).shuffle(&mut kept);
        let order: Vec<Bytes> = kept.iter().map(|call| call.body.bytes.clone()).collect();
        for call in kept {
            assert!(call.ticket.respond(&call.body, &Extras::NONE));
        }
        for body in order {
            let id = u64::from(number_in(&body)) + 1000;
            assert_eq!(caller.answered(), (id, body.to_vec()));
        }
        place.house.counted("calls_total", &[("ok", 300)]);
        assert_eq!(place.house.count("replies_sent_total"), 300);
        assert_eq!(place.house.count("calls_in_flight"), 0);
    }
}

#[test]
fn every_protocol_answers_many_connections_each_call_once() {
    for codec in all() {
        let place = Place::new(&codec);
        let callers: Vec<_> = (0..4u32)
            .map(|caller| {
                let mut talker = place.caller();
                thread::spawn(move || {
                    let stream: Vec<u8> = (0..500)
                        .flat_map(|n| talker.frame(u64::from(n), ECHO, &numbered(caller << 16 | n)))
                        .collect();
                    let mut writer = talker.peer.share();
                    let writer = thread::spawn(move || writer.send(&stream));
                    let mut seen = vec![false; 500];
                    for _ in 0..500 {
                        let (id, body) = talker.answered();
                        assert_eq!(u64::from(number_in(&body)), u64::from(caller) << 16 | id);
                        let seen = &mut seen[usize::try_from(id).unwrap()];
                        assert!(!std::mem::replace(seen, true), "{id} came twice");
                    }
                    writer.join().unwrap();
                    talker.peer.end();
                    talker.assert_end();
                })
            })
            .collect();
        for caller in callers {
            caller.join().unwrap();
        }
        place.house.counted("calls_total", &[("ok", 2000)]);
        eventually("the end", || {
            place.desk.closes() == [CloseKind::PeerClosed; 4]
        });
    }
}

#[test]
fn ids_may_be_any_numbers_and_come_twice() {
    let place = Place::new(&baidu());
    let mut caller = place.caller();
    for id in [0, u64::MAX, 1 << 63, 7] {
        caller.call(id, ECHO, b"odd");
        assert_eq!(caller.answered(), (id, b"odd".to_vec()));
    }
    caller.call(7, KEEP, b"first");
    caller.call(7, KEEP, b"second");
    for call in place.desk.kept(2).into_iter().rev() {
        call.ticket.respond(&call.body, &Extras::NONE);
    }
    let mut bodies = [caller.answered().1, caller.answered().1];
    bodies.sort();
    assert_eq!(bodies, [b"first".to_vec(), b"second".to_vec()]);
}

#[test]
fn a_peer_that_ended_its_side_still_gets_all_its_answers() {
    for codec in [baidu(), by_id(), in_order(0)] {
        let place = Place::new(&codec);
        let mut caller = place.caller();
        for number in 0..50 {
            let method = if number < 25 { KEEP } else { ECHO };
            caller.call(u64::from(number), method, &numbered(number));
        }
        caller.peer.end();
        let kept = place.desk.kept(25);
        eventually("the others", || place.desk.ran(ECHO) == 25);
        thread::sleep(ms(30));
        assert_eq!(place.house.count("connections"), 1);
        for call in kept {
            assert!(!call.ticket.is_cancelled());
            assert!(call.ticket.respond(&call.body, &Extras::NONE));
        }
        let mut answered: Vec<u32> = (0..50).map(|_| number_in(&caller.answered().1)).collect();
        answered.sort_unstable();
        assert!(answered.into_iter().eq(0..50));
        caller.assert_end();
        eventually("the end", || place.house.count("connections") == 0);
        assert_eq!(place.desk.closes(), [CloseKind::PeerClosed]);
        assert!(!place.desk.link(0).is_lost());
    }
}

#[test]
fn a_deadline_is_answered_on_time_and_what_the_handler_says_later_is_late() {
    let place = Place::new(&baidu());
    let mut caller = place.caller();
    // One that is due later must not be what is waited for.
    caller.call_within(1, KEEP, b"patient", LONG);
    let patient = place.desk.kept_one();
    let start = Instant::now();
    caller.call_within(2, KEEP, b"hasty", ms(100));
    let hasty = place.desk.kept_one();
    let (id, status) = caller.failed();
    assert!((ms(100)..ms(1500)).contains(&start.elapsed()), "{start:?}");
    assert_eq!((id, status.code), (2, Code::DeadlineExceeded));
    assert_eq!(status.native, Some(ERPCTIMEDOUT));
    assert!(hasty.ticket.is_cancelled() && hasty.ticket.is_ended());
    assert!(!hasty.ticket.respond(&hasty.body, &Extras::NONE));
    assert_eq!(place.house.count("late_endings_total"), 1);

    assert!(!patient.ticket.is_cancelled());
    assert!(patient.ticket.respond(&patient.body, &Extras::NONE));
    assert_eq!(caller.answered(), (1, b"patient".to_vec()));
    place
        .house
        .counted("calls_total", &[("ok", 1), ("DEADLINE_EXCEEDED", 1)]);
    caller.peer.end();
    caller.assert_end();
}

#[test]
fn a_deadline_passes_while_all_workers_are_busy() {
    let place = Place::new(&baidu());
    place.house.gate.shut();
    let mut caller = place.caller();
    for id in 0..WORKERS as u64 {
        caller.call(id, WAIT, b"");
    }
    eventually("busy workers", || place.desk.ran(WAIT) == WORKERS);
    let start = Instant::now();
    caller.call_within(99, ECHO, b"", ms(60));
    let (id, status) = caller.failed();
    assert!((ms(60)..ms(1500)).contains(&start.elapsed()));
    assert_eq!((id, status.code), (99, Code::DeadlineExceeded));
    place.house.gate.open();
    for _ in 0..WORKERS {
        assert!(caller.answered().0 < 99);
    }
    // It reaches a worker and is known there to have ended.
    eventually("the last", || {
        place.desk.happened().contains(&Happened::Skipped)
    });
    assert_eq!(place.desk.ran(ECHO), 0);
    assert_eq!(place.house.count("late_endings_total"), 0);
}

#[test]
fn more_calls_than_may_run_are_refused_at_once() {
    let place = Place::with(&baidu(), |setup| setup.limits.concurrency = Some(3));
    let mut caller = place.caller();
    for id in 0..3 {
        caller.call(id, KEEP, b"");
    }
    let mut kept = place.desk.kept(3);
    let mut other = place.caller();
    for caller in [&mut caller, &mut other] {
        caller.call(9, ECHO, b"");
        let (id, status) = caller.failed();
        assert_eq!((id, status.native), (9, Some(ELIMIT)));
        assert_eq!(status.code, Code::ResourceExhausted);
        assert!(status.text.contains("3 calls at once"), "{status}");
    }
    // The place is free when the call has ended.
    let call = kept.remove(0);
    assert!(call.ticket.respond(&call.body, &Extras::NONE));
    other.call(10, KEEP, b"");
    let late = place.desk.kept_one();
    place.house.counted("rejected_total", &[("overload", 2)]);
    // It is free as well when the caller is gone.
    let mourner = Arc::new(Mourner::default());
    late.ticket.on_end(Arc::downgrade(&mourner) as _);
    reset(other);
    eventually("the loss", || mourner.told() == 1);
    caller.answered();
    caller.call(11, ECHO, b"there is room");
    assert_eq!(caller.answered(), (11, b"there is room".to_vec()));
    assert_eq!(place.desk.ran(ECHO), 1);
}

#[test]
fn a_method_has_a_bound_of_its_own() {
    let place = Place::with(&baidu(), |setup| {
        setup.methods = vec![None, None, None, Some(1)];
    });
    let mut caller = place.caller();
    caller.call(1, KEEP, b"");
    let kept = place.desk.kept_one();
    caller.call(2, KEEP, b"");
    let (id, status) = caller.failed();
    assert_eq!((id, status.native), (2, Some(ELIMIT)));
    caller.call(3, ECHO, b"other");
    assert_eq!(caller.answered(), (3, b"other".to_vec()));
    kept.ticket.fail(&Status::new(Code::NotFound, "none"));
    assert_eq!(caller.failed().1.code, Code::NotFound);
    caller.call(4, KEEP, b"");
    place.desk.kept_one();
}

/// A place whose workers are all busy and where two calls may wait.
fn crowded() -> (Place, Talker) {
    let place = Place::with(&baidu(), |setup| setup.limits.queued = 2);
    place.house.gate.shut();
    let mut caller = place.caller();
    for id in 0..WORKERS as u64 {
        caller.call(id, WAIT, b"");
        let busy = usize::try_from(id).unwrap() + 1;
        eventually("a busy worker", || place.desk.ran(WAIT) == busy);
    }
    (place, caller)
}

#[test]
fn more_calls_than_may_wait_are_refused_at_once() {
    let (place, mut caller) = crowded();
    for waiting in 1..=2 {
        caller.call(100, ECHO, b"");
        eventually("the queue", || place.server.queued_calls() == waiting);
    }
    for codec_peer in [&mut caller, &mut place.caller()] {
        codec_peer.call(200, ECHO, b"");
        let (id, status) = codec_peer.failed();
        assert_eq!((id, status.native), (200, Some(ELIMIT)));
        assert!(status.text.contains("max_queued_calls is 2"), "{status}");
    }
    place.house.gate.open();
    for _ in 0..WORKERS + 2 {
        caller.answered();
    }
    place.house.counted("rejected_total", &[("overload", 2)]);
}

#[test]
fn calls_that_come_in_one_piece_are_held_against_the_bound_too() {
    let (place, mut caller) = crowded();
    let burst: Vec<u8> = (100..200)
        .flat_map(|id| caller.frame(id, ECHO, b""))
        .collect();
    caller.peer.send(&burst);
    eventually("all calls", || {
        place.server.queued_calls() as u64 + place.house.count("rejected_total") == 100
    });
    assert_eq!(place.server.queued_calls(), 2, "calls that wait");
    place.house.gate.open();
    let mut refused = 0;
    for _ in 0..WORKERS + 100 {
        refused += usize::from(caller.reply().unwrap().outcome.is_err());
    }
    assert_eq!(refused, 98);
}

#[test]
fn answers_leave_in_the_order_of_their_calls_where_the_wire_wants_it() {
    for id_width in [0, 4] {
        let place = Place::new(&in_order(id_width));
        let mut caller = place.caller();
        for number in 0..40 {
            caller.call(u64::from(number) + 1, KEEP, &numbered(number));
        }
        let mut kept = place.desk.kept(40);
        kept.sort_by_key(|call| number_in(&call.body.bytes));
        let first = kept.remove(0);
        fastrand::Rng::with_seed(3).shuffle(&mut kept);
        for call in kept {
            assert!(call.ticket.respond(&call.body, &Extras::NONE));
        }
        caller.assert_silent(ms(50));
        assert!(first.ticket.respond(&first.body, &Extras::NONE));
        for number in 0..40 {
            let (id, body) = caller.answered();
            assert_eq!(number_in(&body), number);
            assert_eq!(
                id,
                if id_width == 0 {
                    0
                } else {
                    u64::from(number) + 1
                }
            );
        }
        // A second round, of calls that end on several threads at once.
        for number in 0..200 {
            caller.call(u64::from(number), ECHO, &numbered(number));
        }
        for number in 0..200 {
            assert_eq!(number_in(&caller.answered().1), number);
        }
        eventually("the count", || {
            place.house.count("replies_sent_total") == 240
        });
    }
}

#[test]
fn a_failure_that_the_wire_cannot_say_ends_the_connection() {
    for codec in [by_id(), in_order(0), in_order(4)] {
        let place = Place::new(&codec);
        let mut caller = place.caller();
        caller.call(1, KEEP, b"fails");
        let fails = place.desk.kept_one();
        caller.call(2, KEEP, b"goes with it");
        let lost = place.desk.kept_one();
        assert!(fails.ticket.fail(&Status::new(Code::NotFound, "none")));
        caller.assert_end();
        eventually("the end", || place.desk.closes() == [CloseKind::CallFailed]);
        eventually("the loss", || lost.ticket.is_ended());
        assert!(lost.ticket.is_cancelled());
        place
            .house
            .counted("calls_total", &[("CANCELLED", 1), ("NOT_FOUND", 1)]);
    }
}

#[test]
fn what_the_wire_cannot_answer_at_all_ends_the_connection() {
    for codec in [by_id(), in_order(0)] {
        let place = Place::new(&codec);
        let mut other = place.caller();
        let mut caller = place.caller();
        caller.call(1, ECHO, b"good");
        assert_eq!(caller.answered().1, b"good");
        caller.call(2, 4, b"no such method");
        caller.assert_end();
        let kind = CloseKind::Rejected(RejectReason::UnknownMethod);
        eventually("the end", || place.desk.closes() == [kind]);
        place
            .house
            .counted("rejected_total", &[("unknown_method", 1)]);
        other.call(1, ECHO, b"unharmed");
        assert_eq!(other.answered().1, b"unharmed");
    }
}

#[test]
fn an_answer_that_is_too_large_becomes_a_failure() {
    let large = Bytes::from(vec![0; 5 << 20]);
    let place = Place::new(&baidu());
    let mut caller = place.caller();
    caller.call(1, KEEP, b"");
    let kept = place.desk.kept_one();
    assert!(
        kept.ticket
            .respond(&Payload::plain(large.clone()), &Extras::NONE)
    );
    let (id, status) = caller.failed();
    assert_eq!((id, status.native), (1, Some(ERESPONSE)));
    assert!(status.text.contains("5242880 bytes"), "{status}");
    caller.call(2, ECHO, b"still there");
    assert_eq!(caller.answered().0, 2);

    let place = Place::new(&by_id());
    let mut caller = place.caller();
    caller.call(1, KEEP, b"");
    let kept = place.desk.kept_one();
    assert!(kept.ticket.respond(&Payload::plain(large), &Extras::NONE));
    caller.assert_end();
    eventually("the end", || place.desk.closes() == [CloseKind::CallFailed]);
}

#[test]
fn a_caller_that_serves_can_be_called_back_and_no_other() {
    let place = Place::new(&baidu());
    let calls = Calls::new();
    for (extras, place_of_link) in [(Extras::default(), 0), (greeting(false), 1)] {
        let mut caller = place.caller();
        caller.call_with(1, ECHO, b"", &extras);
        caller.answered();
        let link = place.desk.link(place_of_link);
        assert_eq!(
            link.call(&outbound(1, b"push", None), calls.waiter(1)),
            None
        );
        assert_eq!(calls.failure(1).code, Code::Unimplemented);
        caller.assert_silent(ms(30));
    }
    let mut caller = Talker::connect_both(&place.address, &baidu());
    caller.call_with(1, KEEP, b"", &greeting(true));
    let kept = place.desk.kept_one();
    let link = place.desk.link(2);
    for number in 0..20 {
        let id = link.call(&outbound(1, numbered(number), None), calls.waiter(number));
        assert!(id.is_some());
    }
    for _ in 0..20 {
        let body = caller.echo();
        assert_eq!(calls.answer(number_in(&body)).body.bytes, body);
    }
    // Its own call is still there, and a call that it does not answer ends with the connection.
    kept.ticket.respond(&payload(b"own"), &Extras::NONE);
    assert_eq!(caller.answered(), (1, b"own".to_vec()));
    link.call(&outbound(1, b"last", None), calls.waiter(20));
    caller.next_call();
    let id = link
        .call(&outbound(1, b"cancelled", None), calls.waiter(21))
        .unwrap();
    link.cancel(id);
    assert_eq!(calls.failure(21).code, Code::Cancelled);
    drop(caller);
    assert_eq!(calls.failure(20).code, Code::Unavailable);
}

#[test]
fn a_connection_that_is_closed_here_ends_though_its_caller_goes_on_to_call() {
    for codec in [baidu(), by_id(), in_order(4)] {
        let place = Place::new(&codec);
        let mut caller = Talker::connect_both(&place.address, &codec);
        let refuses = codec.traits().failures;
        if refuses {
            caller.call_with(1, KEEP, b"", &greeting(true));
        } else {
            caller = place.caller();
            caller.call(1, KEEP, b"");
        }
        let first = place.desk.kept_one();
        let link = place.desk.link(usize::from(!refuses));
        link.finish(CloseReason::new(CloseKind::Closed, "closed by this end"));
        caller.call(2, KEEP, b"overlaps");
        if refuses {
            let (id, status) = caller.failed();
            assert_eq!((id, status.native), (2, Some(ELOGOFF)));
            assert_eq!(status.code, Code::Unavailable);
        }
        place.house.counted("rejected_total", &[("stopping", 1)]);
        // Nor are calls taken for the other direction.
        let calls = Calls::new();
        assert_eq!(
            link.call(&outbound(1, b"push", None), calls.waiter(0)),
            None
        );
        assert_eq!(calls.failure(0).code, Code::Unavailable);
        assert!(first.ticket.respond(&payload(b"first"), &Extras::NONE));
        assert_eq!(caller.answered(), (1, b"first".to_vec()));
        caller.assert_end();
        assert_eq!(place.desk.ran(KEEP), 1);
    }
}

#[test]
fn calls_whose_caller_is_lost_end_at_once() {
    let place = Place::new(&baidu());
    let mut caller = place.caller();
    for id in 0..3 {
        caller.call(id, KEEP, b"");
    }
    let kept = place.desk.kept(3);
    let mourner = Arc::new(Mourner::default());
    let listener: Weak<dyn LossListener> = Arc::downgrade(&mourner) as _;
    place.desk.link(0).on_loss(listener);
    reset(caller);
    eventually("the loss", || {
        kept.iter().all(|call| call.ticket.is_ended())
    });
    assert_eq!(mourner.told(), 1);
    for call in kept {
        assert!(call.ticket.is_cancelled());
        assert!(!call.ticket.respond(&call.body, &Extras::NONE));
    }
    place.house.counted("calls_total", &[("CANCELLED", 3)]);
    assert_eq!(place.house.count("late_endings_total"), 3);
    eventually("the end", || place.desk.closes() == [CloseKind::Reset]);
}

#[test]
fn a_call_that_nobody_ends_is_answered_as_a_failure() {
    let place = Place::new(&baidu());
    let mut caller = place.caller();
    caller.call(1, KEEP, b"");
    drop(place.desk.kept_one());
    let (id, status) = caller.failed();
    assert_eq!((id, status.code), (1, Code::Internal));
    caller.call(2, ECHO, b"");
    assert_eq!(caller.answered().0, 2);
}
