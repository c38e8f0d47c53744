//! What a server does with callers that speak another protocol, or none, or theirs badly, or do
//! not read, or are not who they should be.
#![cfg(test)]

mod support;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use _core::call::{CloseKind, RejectReason};
use _core::status::Code;
use _core::wire::Codec;
use support::{
    ECHO, ENOMETHOD, ENOSERVICE, EREQUEST, ERPCAUTH, Folder, Happened, KEEP, NOTE, Peer, Place,
    SECRET, Talker, all, baidu, by_id, credential, eventually, hulu, in_order, ms, sofa,
};

const LONG: Duration = Duration::from_secs(10);

#[test]
fn the_protocol_is_found_however_the_first_frame_is_split() {
    let place = Place::with(&baidu(), |setup| setup.codecs = all());
    for codec in all() {
        let frame = Talker::connect(&place.address, &codec).frame(5, ECHO, b"split");
        // At once, in two pieces cut everywhere, and byte by byte.
        let mut cuts: Vec<Vec<usize>> = (0..frame.len()).map(|cut| vec![cut]).collect();
        cuts.push((1..frame.len()).collect());
        for cuts in cuts {
            let mut caller = Talker::connect(&place.address, &codec);
            let mut sent = 0;
            for cut in cuts.into_iter().filter(|cut| *cut > 0) {
                caller.peer.send(&frame[sent..cut]);
                sent = cut;
                thread::sleep(ms(1));
            }
            // With the next frame right behind it.
            let next = caller.frame(6, ECHO, b"next");
            caller.peer.send(&[&frame[sent..], &next].concat());
            let mut answers = [caller.answered(), caller.answered()];
            answers.sort();
            assert_eq!(answers, [(5, b"split".to_vec()), (6, b"next".to_vec())]);
        }
    }
    assert_eq!(place.house.count("rejected_total"), 0);
}

#[test]
fn whoever_does_not_say_its_protocol_is_let_go_after_a_while() {
    let timeout = ms(200);
    let place = Place::with(&baidu(), |setup| {
        setup.codecs = all();
        setup.bounds.handshake_timeout = timeout;
    });
    let mut prefixes: Vec<&[u8]> = vec![b"", b"\x0e", b"\x0e\0", b"\x0e\0\0", b"P\0"];
    for magic in [b"PRPC", b"HULU", b"SOFA"] {
        prefixes.extend((1..4).map(|end| &magic[..end]));
    }
    // Whoever has said it may take its time.
    let mut slow = place.caller();
    let frame = slow.frame(1, ECHO, b"slow");
    slow.peer.send(&frame[..4]);
    let start = Instant::now();
    let callers: Vec<_> = prefixes
        .iter()
        .map(|prefix| {
            let mut peer = Peer::connect(&place.address).unwrap();
            peer.send(prefix);
            peer
        })
        .collect();
    for (mut peer, prefix) in callers.into_iter().zip(&prefixes) {
        assert_eq!(peer.drain_bytes(), b"", "{prefix:?}");
        let passed = start.elapsed();
        assert!(
            (timeout..timeout * 8).contains(&passed),
            "{prefix:?}: {passed:?}"
        );
    }
    let count = prefixes.len() as u64;
    place
        .house
        .counted("rejected_total", &[("handshake_timeout", count)]);
    place
        .house
        .counted("disconnects_total", &[("handshake_timeout", count)]);
    thread::sleep(timeout);
    slow.peer.send(&frame[4..]);
    assert_eq!(slow.answered(), (1, b"slow".to_vec()));
}

#[test]
fn whoever_speaks_another_protocol_is_let_go_at_once() {
    let place = Place::with(&baidu(), |setup| setup.codecs = all());
    let start = Instant::now();
    let strangers: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n",
        b"PRPX",
        b"HUL\x7f",
        &[0xff; 8],
        &[0; 4],
    ];
    for first in strangers {
        let mut peer = Peer::connect(&place.address).unwrap();
        peer.send(first);
        assert_eq!(peer.drain_bytes(), b"", "{first:?}");
    }
    assert!(start.elapsed() < LONG / 2);
    let count = strangers.len() as u64;
    place
        .house
        .counted("rejected_total", &[("unknown_protocol", count)]);
    // One that says nothing and goes is nobody's fault; one that goes in the middle is cut off.
    Peer::connect(&place.address).unwrap().end();
    eventually("the count", || {
        place
            .house
            .counts("disconnects_total")
            .contains(&("peer_closed", 1))
    });
    let mut peer = Peer::connect(&place.address).unwrap();
    peer.send(b"PRP");
    peer.end();
    eventually("the count", || {
        place
            .house
            .counts("rejected_total")
            .contains(&("truncated", 1))
    });
    assert_eq!(place.house.count("connections"), 0);
    assert_eq!(place.desk.happened(), []);
}

#[test]
fn where_there_is_but_one_protocol_a_caller_may_only_listen() {
    let place = Place::with(&baidu(), |setup| setup.bounds.handshake_timeout = ms(20));
    let mut caller = place.caller();
    place.desk.link(0);
    thread::sleep(ms(100));
    caller.call(1, ECHO, b"at last");
    assert_eq!(caller.answered(), (1, b"at last".to_vec()));
}

/// `PRPC` with these sizes and what follows.
fn prpc(body: u32, meta: u32, rest: &[u8]) -> Vec<u8> {
    [&b"PRPC"[..], &body.to_be_bytes(), &meta.to_be_bytes(), rest].concat()
}

fn bad_frames() -> Vec<(Arc<dyn Codec>, Vec<u8>, RejectReason)> {
    let (large, huge) = (5 << 20, 300 << 10);
    let sofa_sizes = |meta: u32, body: u64, sum: u64| {
        let (meta, body, sum) = (meta.to_le_bytes(), body.to_le_bytes(), sum.to_le_bytes());
        [&b"SOFA"[..], &meta, &body, &sum].concat()
    };
    let hulu_meta = [&b"HULU\x02\0\0\0\x02\0\0\0"[..], b"\x10\x01"].concat();
    vec![
        (baidu(), b"PRPX".to_vec(), RejectReason::BadMagic),
        (baidu(), b"HULU".to_vec(), RejectReason::BadMagic),
        (baidu(), b"\0".to_vec(), RejectReason::BadMagic),
        (
            baidu(),
            prpc(large, 10, b""),
            RejectReason::LengthAboveLimit,
        ),
        (
            baidu(),
            prpc(u32::MAX, u32::MAX, b""),
            RejectReason::LengthAboveLimit,
        ),
        (
            baidu(),
            prpc(1 << 20, huge, b""),
            RejectReason::LengthAboveLimit,
        ),
        (baidu(), prpc(10, 11, b""), RejectReason::BadSizes),
        (baidu(), prpc(4, 4, &[0xff; 4]), RejectReason::BadMeta),
        (baidu(), prpc(2, 2, &[0x0a, 0]), RejectReason::BadMeta),
        (hulu(), hulu_meta, RejectReason::BadMeta),
        (sofa(), sofa_sizes(4, 4, 9), RejectReason::BadSizes),
        (
            sofa(),
            sofa_sizes(4, 5 << 20, (5 << 20) + 4),
            RejectReason::LengthAboveLimit,
        ),
        (by_id(), vec![0xff; 4], RejectReason::LengthAboveLimit),
        (by_id(), vec![5, 0, 0, 0], RejectReason::LengthBelowHeader),
        (
            in_order(0),
            vec![1, 0, 0, 0],
            RejectReason::LengthBelowHeader,
        ),
    ]
}

#[test]
fn bad_frames_close_their_connection_and_harm_no_other() {
    for (codec, bad, reason) in bad_frames() {
        let place = Place::new(&codec);
        let mut other = place.caller();
        other.call(1, ECHO, b"before");
        assert_eq!(other.answered().1, b"before");

        let mut caller = place.caller();
        caller.call(1, KEEP, b"in flight");
        let lost = place.desk.kept_one();
        let good = caller.frame(2, NOTE, b"good");
        caller.peer.send(&[good, bad.clone()].concat());
        // What was before the bad frame counts, and may still be answered.
        while let Some(reply) = caller.reply() {
            assert_eq!(reply.outcome.unwrap().bytes, b""[..]);
        }
        let kind = CloseKind::Rejected(reason);
        eventually("the end", || place.desk.closes() == [kind]);
        // Run, or known to have nobody left who waits.
        let came = Happened::Ran(NOTE, b"good".to_vec());
        let happened = place.desk.happened();
        assert!(happened.contains(&came) || happened.contains(&Happened::Skipped));
        assert!(lost.ticket.is_cancelled(), "{bad:?}");
        place
            .house
            .counted("rejected_total", &[(reason.label(), 1)]);
        eventually("the count", || place.house.count("connections") == 1);
        place
            .house
            .counted("disconnects_total", &[(reason.label(), 1)]);

        other.call(2, ECHO, b"after");
        assert_eq!(other.answered().1, b"after");
    }
}

#[test]
fn a_stream_that_ends_inside_a_frame_is_truncated_wherever_that_is() {
    for codec in all() {
        let place = Place::new(&codec);
        let frame = place.caller().frame(1, ECHO, b"cut off");
        for end in 1..frame.len() {
            let mut caller = place.caller();
            caller.peer.send(&frame[..end]);
            caller.peer.end();
            caller.assert_end();
        }
        let cuts = frame.len() - 1;
        eventually("the ends", || {
            let closes = place.desk.closes();
            let truncated = CloseKind::Rejected(RejectReason::Truncated);
            closes.iter().filter(|kind| **kind == truncated).count() == cuts
        });
        assert_eq!(place.desk.ran(ECHO), 0);
    }
}

/// A frame whose meta names `service` and `method` and has these bytes behind that.
fn request(service: &str, method: &str, more: &[u8], body: &[u8]) -> Vec<u8> {
    let text = |tag: u8, text: &str| {
        let length = u8::try_from(text.len()).unwrap();
        [&[tag, length], text.as_bytes()].concat()
    };
    let named = [text(0x0a, service), text(0x12, method)].concat();
    let length = u8::try_from(named.len()).unwrap();
    // Its correlation_id is 5.
    let meta = [&[0x0a, length], &named[..], &[0x20, 5], more].concat();
    let size = |bytes: usize| u32::try_from(bytes).unwrap();
    let rest = [&meta, body].concat();
    prpc(size(rest.len()), size(meta.len()), &rest)
}

#[test]
fn calls_that_cannot_be_run_are_answered_and_the_connection_stays() {
    let place = Place::new(&baidu());
    let mut caller = place.caller();
    let rows: [(Vec<u8>, i32, &str, &str); 8] = [
        (
            request("game.Desk", "none", b"", b""),
            ENOMETHOD,
            "unknown_method",
            "none",
        ),
        (
            request("game.None", "echo", b"", b""),
            ENOMETHOD,
            "unknown_method",
            "game.None",
        ),
        (
            request("None", "echo", b"", b""),
            ENOSERVICE,
            "unknown_method",
            "None",
        ),
        (
            request("", "", b"", b""),
            ENOSERVICE,
            "unknown_method",
            "service",
        ),
        // compress_type 4 and 77, attachment_size 9, content_type 1.
        (
            request("game.Desk", "echo", b"\x18\x04", b""),
            EREQUEST,
            "bad_body",
            "4",
        ),
        (
            request("game.Desk", "echo", b"\x18\x4d", b""),
            EREQUEST,
            "bad_body",
            "77",
        ),
        (
            request("game.Desk", "echo", b"\x28\x09", b"short"),
            EREQUEST,
            "bad_body",
            "9",
        ),
        (
            request("game.Desk", "echo", b"\x50\x01", b"{}"),
            EREQUEST,
            "bad_body",
            "content_type 1",
        ),
    ];
    for (frame, native, label, text) in &rows {
        let before = place.house.counts("rejected_total");
        let count = |counts: &[(&str, u64)]| {
            let found = counts.iter().find(|(other, _)| other == label);
            found.map_or(0, |(_, count)| *count)
        };
        caller.peer.send(frame);
        let (id, status) = caller.failed();
        assert_eq!((id, status.native), (5, Some(*native)), "{status}");
        assert!(status.text.contains(text), "{status}");
        let after = place.house.counts("rejected_total");
        assert_eq!(count(&after), count(&before) + 1);
    }
    // Bare names are as good, and a frame without a request asks for nothing that is there.
    caller.peer.send(&request("Desk", "echo", b"", b"bare"));
    assert_eq!(caller.answered(), (5, b"bare".to_vec()));
    caller.peer.send(&prpc(2, 2, &[0x20, 5]));
    assert_eq!(caller.failed().1.native, Some(ENOSERVICE));
    assert_eq!(place.house.count("connections"), 1);
    assert_eq!(place.house.count("calls_received_total"), 1);
}

#[test]
fn a_peer_that_does_not_read_its_answers_is_read_no_further() {
    let folder = Folder::new();
    let place = Place::at(&folder.address(), &baidu(), |_| {});
    let mut slow = place.caller();
    let body = vec![7; 20_000];
    let stream: Vec<u8> = (0..2000)
        .flat_map(|id| slow.frame(id, ECHO, &body))
        .collect();
    let mut writer = slow.peer.share();
    let writer = thread::spawn(move || writer.send(&stream));
    // It goes on for as long as there is room: what waits to be run, what waits to be written.
    let received = || place.house.count("calls_received_total");
    let mut last = (received(), Instant::now());
    while last.1.elapsed() < ms(200) {
        if received() != last.0 {
            last = (received(), Instant::now());
        }
        thread::sleep(ms(1));
    }
    assert!((200..1000).contains(&last.0), "{last:?}");
    assert!(!writer.is_finished());
    let mut other = place.caller();
    for id in 0..100 {
        other.call(id, ECHO, &body);
        assert_eq!(other.answered().0, id);
    }
    let mut seen = vec![false; 2000];
    for _ in 0..2000 {
        let (id, answer) = slow.answered();
        assert!(answer == body);
        seen[usize::try_from(id).unwrap()] = true;
    }
    assert!(seen.iter().all(|seen| *seen));
    writer.join().unwrap();
    assert_eq!(place.house.count("replies_unsent_total"), 0);
}

#[test]
fn a_caller_says_who_it_is_before_its_first_call_is_run() {
    for codec in [baidu(), hulu()] {
        let place = Place::with(&codec, |setup| setup.authenticates = true);
        let mut caller = place.caller();
        let first = caller.call_frame(1, ECHO, b"first", None, &credential(SECRET));
        let second = caller.frame(2, ECHO, b"second");
        caller.peer.send(&[first, second].concat());
        let mut answers = [caller.answered().0, caller.answered().0];
        answers.sort_unstable();
        assert_eq!(answers, [1, 2]);
        let happened = place.desk.happened();
        let expected = [Happened::Opened, Happened::Credential(SECRET.to_vec())];
        assert_eq!(happened[..2], expected);
        assert_eq!(happened.len(), 4);
    }
}

#[test]
fn a_caller_that_is_not_believed_is_told_so_and_let_go() {
    for said in [&b"password"[..], b""] {
        let place = Place::with(&baidu(), |setup| setup.authenticates = true);
        let mut believed = place.caller();
        believed.call_with(1, ECHO, b"", &credential(SECRET));
        assert_eq!(believed.answered().0, 1);
        let mut caller = place.caller();
        let first = caller.call_frame(1, KEEP, b"", None, &credential(said));
        let second = caller.call_frame(2, KEEP, b"", None, &credential(SECRET));
        caller.peer.send(&[first, second.clone()].concat());
        let (id, status) = caller.failed();
        assert_eq!((id, status.native), (1, Some(ERPCAUTH)));
        assert_eq!(status.code, Code::Unauthenticated);
        assert!(status.text.contains("who are you?"), "{status}");
        caller.assert_end();
        // What it goes on to say is for nobody. It may be gone for the system by now.
        let _ = caller.peer.try_send(&second);
        let kind = CloseKind::Rejected(RejectReason::Unauthenticated);
        eventually("the end", || place.desk.closes() == [kind]);
        assert_eq!(place.desk.ran(KEEP), 0);
        believed.call(2, ECHO, b"");
        assert_eq!(believed.answered().0, 2);
        place
            .house
            .counted("rejected_total", &[("unauthenticated", 1)]);
    }
}
