//! The server on real sockets, without Python.
#![cfg(test)]

mod support;

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use _core::call::{CloseKind, CloseReason, LossListener, RejectReason};
use _core::net::address::Address;
use _core::net::server::{Cut, Listener};
use _core::status::Code;
use socket2::SockRef;
use support::{
    ECHO, Folder, House, Mourner, NOTE, Peer, Seen, WAIT, call, eventually, frame, is_gone,
    loopback, ms, numbered,
};

const SHORT: Duration = ms(100);
const LONG: Duration = Duration::from_secs(10);

fn numbers(count: u32) -> Vec<Vec<u8>> {
    (0..count).map(numbered).collect()
}

#[test]
fn a_connection_is_opened_then_called_in_order_then_closed() {
    let house = House::new();
    let (_server, address) = house.serve(&loopback());
    let mut peer = Peer::connect(&address).unwrap();
    let stream: Vec<u8> = (0..5000).flat_map(|n| frame(NOTE, &numbered(n))).collect();
    peer.send(&stream);
    let notes = house.session(0);
    assert_eq!(house.count("connections"), 1);
    peer.end();
    eventually("the end", || notes.closed().is_some());
    let mut expected = vec![Seen::Opened];
    expected.extend(numbers(5000).into_iter().map(|body| Seen::Call(NOTE, body)));
    expected.push(Seen::Closed(CloseKind::PeerClosed));
    assert_eq!(notes.seen(), expected);
    eventually("the close", || house.count("connections") == 0);
    assert_eq!(house.count("connections_total"), 1);
    assert_eq!(house.count("calls_received_total"), 5000);
    assert_eq!(house.count("bytes_received_total"), stream.len() as u64);
    assert_eq!(house.counts("disconnects_total"), [("peer_closed", 1)]);
}

#[test]
fn frames_may_come_in_any_pieces() {
    let house = House::new();
    let (_server, address) = house.serve(&loopback());
    let mut peer = Peer::connect(&address).unwrap();
    let stream: Vec<u8> = (0..20).flat_map(|n| frame(ECHO, &numbered(n))).collect();
    for piece in stream.chunks(5) {
        peer.send(piece);
        thread::sleep(Duration::from_micros(300));
    }
    let large: Vec<u8> = (0..3_000_000u32).map(|n| n.to_le_bytes()[0]).collect();
    peer.send(&frame(ECHO, &large));
    peer.end();
    let mut expected = numbers(20);
    expected.push(large);
    assert!(peer.drain() == expected);
}

#[test]
fn a_peer_that_ended_its_side_still_gets_its_answers() {
    let house = House::new();
    let (_server, address) = house.serve(&loopback());
    house.gate.shut();
    let mut peer = Peer::connect(&address).unwrap();
    peer.send(&frame(WAIT, &numbered(0)));
    for number in 1..200 {
        peer.send(&frame(ECHO, &numbered(number)));
    }
    peer.end();
    let notes = house.session(0);
    eventually("all calls", || house.count("calls_received_total") == 200);
    thread::sleep(ms(20));
    assert_eq!(house.count("connections"), 1);
    house.gate.open();
    assert_eq!(peer.drain(), numbers(200));
    eventually("the end", || house.count("connections") == 0);
    assert_eq!(notes.closed(), Some(CloseKind::PeerClosed));
    assert!(!notes.link().is_lost());
    assert_eq!(house.count("calls_unsent_total"), 0);
}

#[test]
fn bad_input_closes_its_connection_counts_and_harms_no_other() {
    for (bad, ends, reason) in [
        (vec![1, 0, 0, 0], false, RejectReason::LengthBelowHeader),
        (vec![0; 4], false, RejectReason::LengthBelowHeader),
        (vec![0xff; 4], false, RejectReason::LengthAboveLimit),
        (
            b"GET / HTTP/1.1\r\n".to_vec(),
            false,
            RejectReason::LengthAboveLimit,
        ),
        (
            frame(3, b"no such method"),
            false,
            RejectReason::UnknownMethod,
        ),
        (
            frame(NOTE, b"cut off")[..9].to_vec(),
            true,
            RejectReason::Truncated,
        ),
        (vec![9], true, RejectReason::Truncated),
    ] {
        let house = House::new();
        let (_server, address) = house.serve(&loopback());
        let mut other = Peer::connect(&address).unwrap();
        other.send(&frame(ECHO, b"before"));
        assert_eq!(other.receive(), Some((0, b"before".to_vec())));

        let mut peer = Peer::connect(&address).unwrap();
        peer.send(&[frame(NOTE, b"good"), bad].concat());
        if ends {
            peer.end();
        }
        assert_eq!(peer.receive(), None, "{reason:?}");
        let notes = house.session(1);
        let kind = CloseKind::Rejected(reason);
        eventually("the end", || notes.closed() == Some(kind));
        assert_eq!(notes.noted(), [b"good"]);
        eventually("the count", || house.count("disconnects_total") == 1);
        assert_eq!(house.counts("disconnects_total"), [(reason.label(), 1)]);
        assert_eq!(house.counts("rejected_total"), [(reason.label(), 1)]);
        assert!(notes.link().is_lost());
        let refused = call(&notes.link(), 0, b"").unwrap_err();
        assert_eq!(refused.code, Code::Unavailable);

        other.send(&frame(ECHO, b"after"));
        assert_eq!(other.receive(), Some((0, b"after".to_vec())));
        assert_eq!(house.count("connections"), 1);
    }
}

#[test]
fn any_thread_may_call_the_peer_and_no_frame_is_torn() {
    let house = House::new();
    let (_server, address) = house.serve(&loopback());
    let mut peer = Peer::connect(&address).unwrap();
    let link = house.session(0).link();
    let pushers: Vec<_> = (0..4u8)
        .map(|pusher| {
            let link = Arc::clone(&link);
            thread::spawn(move || {
                for number in 0..500u16 {
                    let body = vec![pusher; 1 + usize::from(number)];
                    call(&link, u32::from(number), &body).unwrap();
                }
            })
        })
        .collect();
    let mut next = [0u16; 4];
    for _ in 0..2000 {
        let (index, body) = peer.receive().unwrap();
        let pusher = usize::from(body[0]);
        assert_eq!(index, next[pusher]);
        assert_eq!(body, vec![body[0]; 1 + usize::from(index)]);
        next[pusher] += 1;
    }
    for pusher in pushers {
        pusher.join().unwrap();
    }
    assert_eq!(house.count("calls_sent_total"), 2000);
    let refused = call(&link, 65536, b"").unwrap_err();
    assert_eq!(refused.code, Code::InvalidArgument);
    let refused = call(&link, 0, &vec![0; 5 << 20]).unwrap_err();
    assert_eq!(refused.code, Code::InvalidArgument);
    assert_eq!(house.count("calls_sent_total"), 2000);
}

#[test]
fn a_peer_that_reads_nothing_exhausts_its_own_room_only() {
    let house = House::new();
    let (_server, address) = house.serve(&loopback());
    let mut slow = Peer::connect(&address).unwrap();
    let link = house.session(0).link();
    let body = vec![7; 100_000];
    let mut taken = 0usize;
    let full = loop {
        match call(&link, 0, &body) {
            Ok(()) => taken += 1,
            Err(status) => break status,
        }
        assert!(taken < 1000);
    };
    assert_eq!(full.code, Code::ResourceExhausted);
    assert!(full.text.contains("has not read"), "{full}");
    assert!(taken >= 40, "{taken}");

    let mut other = Peer::connect(&address).unwrap();
    other.send(&frame(ECHO, b"here"));
    assert_eq!(other.receive(), Some((0, b"here".to_vec())));

    for _ in 0..taken {
        assert_eq!(slow.receive(), Some((0, body.clone())));
    }
    call(&link, 0, b"again").unwrap();
    assert_eq!(slow.receive(), Some((0, b"again".to_vec())));
    assert_eq!(house.count("calls_sent_total"), taken as u64 + 2);
    assert_eq!(house.count("calls_unsent_total"), 0);
}

#[test]
fn what_a_vanished_peer_did_not_read_is_counted() {
    let house = House::new();
    let (_server, address) = house.serve(&loopback());
    let slow = Peer::connect(&address).unwrap();
    let notes = house.session(0);
    let mourner = Arc::new(Mourner::default());
    let listener: Weak<dyn LossListener> = Arc::downgrade(&mourner) as _;
    notes.link().on_loss(Weak::clone(&listener));
    while call(&notes.link(), 0, &[7; 10_000]).is_ok() {}
    drop(slow);
    eventually("the end", || house.count("connections") == 0);
    assert!(house.count("calls_unsent_total") >= 400);
    assert_eq!(mourner.told(), 1);
    notes.link().on_loss(listener);
    assert_eq!(mourner.told(), 2);
}

#[test]
fn a_reset_is_told_as_one() {
    let house = House::new();
    let (_server, address) = house.serve(&loopback());
    let peer = Peer::connect(&address).unwrap();
    let notes = house.session(0);
    let linger = SockRef::from(peer.tcp()).set_linger(Some(Duration::ZERO));
    linger.unwrap();
    drop(peer);
    eventually("the end", || notes.closed().is_some());
    assert_eq!(notes.closed(), Some(CloseKind::Reset));
    assert!(notes.link().is_lost());
}

#[test]
fn a_lane_that_is_full_holds_its_peer_back() {
    let house = House::new();
    let (server, address) = house.serve(&loopback());
    house.gate.shut();
    let mut peer = Peer::connect(&address).unwrap();
    peer.send(&frame(WAIT, b""));
    let sender = thread::spawn(move || {
        let stream: Vec<u8> = (0..50_000)
            .flat_map(|n| frame(NOTE, &numbered(n)))
            .collect();
        peer.send(&stream);
        peer
    });
    eventually("a full lane", || server.queued_calls() >= 1024);
    thread::sleep(SHORT);
    // A lane is full at 1024; the read before that may have brought a few thousand small ones.
    assert!(server.queued_calls() < 8192, "{}", server.queued_calls());
    house.gate.open();
    let _peer = sender.join().unwrap();
    let notes = house.session(0);
    eventually("all calls", || notes.seen().len() == 50_002);
    assert_eq!(notes.noted(), numbers(50_000));
}

#[test]
fn a_stop_lets_idle_peers_go_at_once() {
    let house = House::new();
    let (server, address) = house.serve(&loopback());
    let peers: Vec<_> = (0..20)
        .map(|place| {
            let mut peer = Peer::connect(&address).unwrap();
            house.session(place);
            thread::spawn(move || peer.drain())
        })
        .collect();
    let start = Instant::now();
    assert_eq!(house.stop(&server, LONG), Cut::default());
    assert!(start.elapsed() < LONG / 2);
    for peer in peers {
        assert_eq!(peer.join().unwrap(), [[0u8; 0]; 0]);
    }
    assert_eq!(house.counts("disconnects_total"), [("server_stopped", 20)]);
    let refused = Peer::connect(&address).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(house.stop(&server, LONG), Cut::default());
}

#[test]
fn a_stop_lets_a_handler_end_and_answer() {
    let house = House::new();
    let (server, address) = house.serve(&loopback());
    house.gate.shut();
    let mut peer = Peer::connect(&address).unwrap();
    peer.send(&frame(WAIT, b"last"));
    let notes = house.session(0);
    eventually("the call", || notes.seen().len() == 2);
    let opener = {
        let gate = Arc::clone(&house.gate);
        thread::spawn(move || {
            thread::sleep(SHORT);
            gate.open();
        })
    };
    let reader = thread::spawn(move || peer.drain());
    assert_eq!(house.stop(&server, LONG), Cut::default());
    assert_eq!(reader.join().unwrap(), [b"last"]);
    assert_eq!(notes.closed(), Some(CloseKind::ServerStopped));
    opener.join().unwrap();
}

#[test]
fn a_stop_cuts_what_does_not_end() {
    let house = House::new();
    let (server, address) = house.serve(&loopback());
    house.gate.shut();
    let mut stuck = Peer::connect(&address).unwrap();
    stuck.send(&frame(WAIT, b""));
    for number in 0..5 {
        stuck.send(&frame(NOTE, &numbered(number)));
    }
    let notes = house.session(0);
    eventually("the call", || notes.seen().len() == 2);
    eventually("the queue", || server.queued_calls() == 5);
    // It hears of the end and does not go.
    let mut idle = Peer::connect(&address).unwrap();
    let idle_notes = house.session(1);
    let start = Instant::now();
    let cut = house.stop(&server, SHORT);
    assert!(start.elapsed() >= SHORT);
    assert_eq!(
        cut,
        Cut {
            connections: 2,
            calls: 5,
            running: 1
        }
    );
    assert_eq!(house.counts("calls_total"), [("CANCELLED", 5)]);
    assert_eq!(idle.receive(), None);
    assert_eq!(stuck.receive(), None);
    assert_eq!(idle_notes.closed(), Some(CloseKind::ServerStopped));
    house.gate.open();
    eventually("the end", || {
        notes.closed() == Some(CloseKind::ServerStopped)
    });
    assert_eq!(notes.noted(), [[0u8; 0]; 0]);
}

#[test]
fn an_abandoned_server_ends_its_connections_without_waiting() {
    let house = House::new();
    let (server, address) = house.serve(&loopback());
    let mut peer = Peer::connect(&address).unwrap();
    let notes = house.session(0);
    server.abandon();
    assert_eq!(peer.receive(), None);
    eventually("the end", || {
        notes.closed() == Some(CloseKind::ServerStopped)
    });
    eventually("no listener", || Peer::connect(&address).is_err());
}

#[test]
fn a_runtime_that_is_dropped_takes_its_connections_along() {
    let mut house = House::new();
    let (_server, address) = house.serve(&loopback());
    let mut peer = Peer::connect(&address).unwrap();
    let link = house.session(0).link();
    let mourner = Arc::new(Mourner::default());
    link.on_loss(Arc::downgrade(&mourner) as _);
    call(&link, 0, b"heard").unwrap();
    house.stop_runtime();
    assert!(!link.is_open());
    assert!(link.is_lost());
    assert_eq!(mourner.told(), 1);
    let refused = call(&link, 0, b"lost").unwrap_err();
    assert_eq!(refused.code, Code::Unavailable);
    assert_eq!(peer.drain(), [b"heard"]);
}

#[test]
fn a_link_can_be_finished_and_aborted() {
    let house = House::new();
    let (_server, address) = house.serve(&loopback());
    let reason = || CloseReason::new(CloseKind::Closed, "enough");
    let mut peer = Peer::connect(&address).unwrap();
    let finished = house.session(0);
    call(&finished.link(), 0, b"bye").unwrap();
    finished.link().finish(reason());
    let refused = call(&finished.link(), 0, b"").unwrap_err();
    assert_eq!(refused.code, Code::Unavailable);
    assert_eq!(peer.drain(), [b"bye"]);
    // What the peer says after our end is still run.
    peer.send(&frame(NOTE, b"wait"));
    eventually("the call", || finished.noted() == [b"wait"]);
    drop(peer);
    eventually("the end", || finished.closed() == Some(CloseKind::Closed));

    let mut peer = Peer::connect(&address).unwrap();
    let aborted = house.session(1);
    aborted.link().abort(reason());
    assert_eq!(peer.receive(), None);
    eventually("the end", || aborted.closed() == Some(CloseKind::Closed));
    assert!(aborted.link().is_lost());
}

#[test]
fn a_peer_that_stays_after_our_end_is_left_after_a_while() {
    let house = House::new();
    let (_server, address) = house.serve(&loopback());
    let mut peer = Peer::connect(&address).unwrap();
    let notes = house.session(0);
    let reason = CloseReason::new(CloseKind::Closed, "enough");
    notes.link().finish(reason);
    assert_eq!(peer.receive(), None);
    let start = Instant::now();
    assert_eq!(notes.closed(), None);
    eventually("the end", || notes.closed() == Some(CloseKind::Closed));
    assert!((ms(500)..LONG).contains(&start.elapsed()));
    eventually("the close", || house.count("connections") == 0);
}

#[test]
fn a_unix_socket_is_served_and_its_file_removed() {
    let (house, folder) = (House::new(), Folder::new());
    let path = folder.file("socket");
    let (server, address) = house.serve(&folder.address());
    assert_eq!(address, folder.address());
    let mut peer = Peer::connect(&address).unwrap();
    peer.send(&frame(ECHO, b"unix"));
    assert_eq!(peer.receive(), Some((0, b"unix".to_vec())));
    assert_eq!(house.session(0).link().peer(), address.to_string());
    drop(peer);
    house.stop(&server, LONG);
    assert!(is_gone(&path));
}

#[test]
fn the_file_of_a_dead_socket_is_replaced_and_no_other() {
    let (house, folder) = (House::new(), Folder::new());
    let path = folder.file("socket");
    drop(UnixListener::bind(&path).unwrap());
    assert!(!is_gone(&path));
    let (_server, address) = house.serve(&folder.address());
    Peer::connect(&address).unwrap();
    let in_use = house.listen(&folder.address()).unwrap_err();
    assert_eq!(in_use.kind(), ErrorKind::AddrInUse);
    Peer::connect(&address).unwrap();

    let path = folder.file("file");
    fs::write(&path, "precious").unwrap();
    let in_use = house.listen(&Address::Unix(path.clone())).unwrap_err();
    assert_eq!(in_use.kind(), ErrorKind::AddrInUse);
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[test]
fn a_port_in_use_is_refused_and_a_free_one_served_again_at_once() {
    let house = House::new();
    let (server, address) = house.serve(&loopback());
    let in_use = house.listen(&address).unwrap_err();
    assert_eq!(in_use.kind(), ErrorKind::AddrInUse);
    // The server ends the connection first, so its side goes through TIME_WAIT.
    let _peer = Peer::connect(&address).unwrap();
    house.session(0);
    house.stop(&server, Duration::ZERO);
    let (_server, again) = house.serve(&address);
    assert_eq!(again, address);
    Peer::connect(&address).unwrap();
}

#[test]
fn a_ready_socket_is_served_and_given_back() {
    let house = House::new();
    let ours = TcpListener::bind("127.0.0.1:0").unwrap();
    let adopt = |fd: OwnedFd| house.runtime().run(async move { Listener::from_fd(fd) });
    let listener = adopt(ours.try_clone().unwrap().into()).unwrap().unwrap();
    let address = listener.address().clone();
    assert_eq!(address.to_string(), ours.local_addr().unwrap().to_string());
    let server = house.serve_at(listener);
    let mut peer = Peer::connect(&address).unwrap();
    peer.send(&frame(ECHO, b"fd"));
    assert_eq!(peer.receive(), Some((0, b"fd".to_vec())));
    drop(peer);
    house.stop(&server, LONG);

    // It may be in the hands of other processes, too, which must not be made to wait.
    assert!(SockRef::from(&ours).nonblocking().unwrap());
    ours.set_nonblocking(false).unwrap();
    let peer = Peer::connect(&address).unwrap();
    let (_, from) = ours.accept().unwrap();
    assert_eq!(from, peer.tcp().local_addr().unwrap());

    let refused = adopt(peer.tcp().try_clone().unwrap().into())
        .unwrap()
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(refused.to_string().contains("does not listen"), "{refused}");
}
