//! TLS on real sockets: nothing leaves in the clear, and each way in which a peer can fail to speak
//! it has a name.
#![cfg(test)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use _core::call::{CloseKind, RejectReason};
use _core::net::address::Address;
use _core::net::client::Target;
use _core::net::tls::{ServerSettings, TlsAcceptor};
use _core::status::Code;
use _core::wire::{Codec, Extras, OutgoingCall};
use support::{
    Calls, ECHO, GRACE, Happened, House, NO_LIMIT, Place, Secrets, SecurePlace, WAIT, all, baidu,
    by_id, connect, eventually, in_order, method, ms, numbered, outbound, patient, payload, rest,
};

/// A body that no bytes of TLS hold by chance.
const MARK: &[u8] = b"a body in the clear, which nobody on the way is to see";

/// Passes bytes on between callers and a server, and keeps them.
struct Tap {
    address: Address,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    under_way: Arc<AtomicUsize>,
}

impl Tap {
    fn before(server: &Address) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let (server, seen) = (server.to_string(), Arc::<Mutex<Vec<Vec<u8>>>>::default());
        let kept = Arc::clone(&seen);
        let under_way = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&under_way);
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let far = TcpStream::connect(&server).unwrap();
                for (mut from, mut to) in [
                    (near.try_clone().unwrap(), far.try_clone().unwrap()),
                    (far, near),
                ] {
                    let (kept, counted) = (Arc::clone(&kept), Arc::clone(&counted));
                    counted.fetch_add(1, Ordering::SeqCst);
                    let place = {
                        let mut kept = kept.lock().unwrap();
                        kept.push(Vec::new());
                        kept.len() - 1
                    };
                    thread::spawn(move || {
                        let mut buffer = [0; 16 * 1024];
                        while let Ok(read @ 1..) = from.read(&mut buffer) {
                            kept.lock().unwrap()[place].extend(&buffer[..read]);
                            if to.write_all(&buffer[..read]).is_err() {
                                break;
                            }
                        }
                        let _ = to.shutdown(Shutdown::Write);
                        counted.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            }
        });
        Self {
            address,
            seen,
            under_way,
        }
    }

    /// Each way of each connection is records of TLS, whole ones, and nothing else.
    #[track_caller]
    fn assert_all_records(&self) {
        eventually("both ends", || self.under_way.load(Ordering::SeqCst) == 0);
        let seen = self.seen.lock().unwrap();
        assert!(!seen.is_empty());
        for mut bytes in seen.iter().map(Vec::as_slice) {
            assert!(!bytes.windows(MARK.len()).any(|part| part == MARK));
            while let [kind, 3, _, high, low, after @ ..] = bytes {
                assert!((20..=23).contains(kind), "{kind}");
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                bytes = after.get(length..).expect("a record that was cut off");
            }
            assert!(bytes.is_empty(), "{bytes:?}");
        }
    }
}

fn marked(number: u32, more: usize) -> Vec<u8> {
    let mut body = numbered(number);
    while body.len() < 4 + more {
        body.extend(MARK);
    }
    body
}

#[test]
fn nothing_leaves_in_the_clear_on_any_protocol() {
    let secrets = Secrets::new();
    for codec in [all(), vec![in_order(0)]].concat() {
        let place = SecurePlace::new(&codec, &secrets.server());
        let tap = Tap::before(&place.address);
        let house = House::new();
        let channel = house.caller(secrets.target(&tap.address), patient(), &codec, b"");
        let calls = Calls::new();
        // Some in one batch, which is corked, some larger than what TLS takes at once.
        for number in 0..200 {
            let more = if number % 40 == 0 { 300_000 } else { 60 };
            let call = outbound(u32::from(ECHO), marked(number, more), NO_LIMIT);
            calls.make(&channel, number, call);
        }
        for _ in 0..200 {
            let (number, outcome) = calls.next();
            let more = if number % 40 == 0 { 300_000 } else { 60 };
            assert_eq!(outcome.unwrap().body.bytes, marked(number, more));
        }
        house.close(&channel, GRACE);
        eventually("the end", || place.house.count("connections") == 0);
        place
            .house
            .counted("disconnects_total", &[("peer_closed", 1)]);
        place.house.stop(&place.server, Duration::ZERO);
        tap.assert_all_records();
    }
}

#[test]
fn calls_in_both_directions_and_a_slow_reader() {
    let secrets = Secrets::new();
    let place = SecurePlace::new(&baidu(), &secrets.server());
    let tap = Tap::before(&place.address);
    let house = House::new();
    let connector = secrets.target(&tap.address);
    let (channel, desk) = house.serving_caller_to(connector, patient(), &baidu());
    let calls = Calls::new();
    let call = outbound(u32::from(ECHO), marked(0, 60), NO_LIMIT);
    calls.make(&channel, 0, call);
    assert_eq!(calls.answer(0).body.bytes, marked(0, 60));
    // More than sockets hold, in both directions at once.
    let link = place.desk.link(0);
    let pushes = Calls::new();
    for number in 0..8 {
        link.call(
            &outbound(u32::from(ECHO), marked(number, 400_000), NO_LIMIT),
            pushes.waiter(number),
        );
        let call = outbound(u32::from(ECHO), marked(number, 400_000), NO_LIMIT);
        calls.make(&channel, number, call);
    }
    let mut answered: Vec<_> = (0..8).map(|_| calls.next()).collect();
    answered.extend((0..8).map(|_| pushes.next()));
    for (number, outcome) in answered {
        assert_eq!(outcome.unwrap().body.bytes, marked(number, 400_000));
    }
    assert_eq!(desk.ran(ECHO), 8);
    house.close(&channel, GRACE);
    place.house.stop(&place.server, GRACE);
    eventually("the end", || place.house.count("connections") == 0);
    tap.assert_all_records();
}

#[test]
fn the_names_in_a_certificate_are_known_to_the_other_end() {
    let secrets = Secrets::new();
    let place = SecurePlace::new(&baidu(), &secrets.server());
    let house = House::new();
    let channel = house.caller(secrets.target(&place.address), patient(), &baidu(), b"");
    let calls = Calls::new();
    calls.call(&channel, ECHO, 7, NO_LIMIT);
    calls.answer(7);
    let link = place.desk.link(0);
    let info = link.tls().unwrap();
    let certificate = info.certificate.as_ref().unwrap();
    assert_eq!(info.version, "TLSv1.3");
    assert_eq!(certificate.common_name.as_deref(), Some("ada"));
    assert_eq!(certificate.dns_names, ["ada.example"]);
    assert_eq!(info.server_name, None, "addresses are no names (RFC 6066)");
    let plain = Place::new(&baidu());
    let mut caller = plain.caller();
    caller.call(1, ECHO, b"x");
    assert_eq!(plain.desk.link(0).tls(), None);
}

#[test]
fn a_hello_that_comes_byte_by_byte_is_one() {
    let secrets = Secrets::new();
    for also_plain in [false, true] {
        let settings = ServerSettings {
            also_plain,
            ..secrets.server()
        };
        let place = SecurePlace::new(&by_id(), &settings);
        let mut client = secrets.by_hand(&place.address, true);
        assert_eq!(client.conn.peer_certificates().unwrap().len(), 1);
        client.write_all(&frame(1, b"slow")).unwrap();
        client.flush().unwrap();
        eventually("the call", || place.desk.ran(ECHO) == 1);
    }
}

/// A call of [`ECHO`] over [`by_id`].
fn frame(id: u64, body: &[u8]) -> Vec<u8> {
    let request = payload(body);
    let call = OutgoingCall {
        method: &method(u32::from(ECHO)),
        id: Some(id),
        timeout: None,
        body: (&request).into(),
        extras: &Extras::default(),
    };
    [by_id().call_head(&call).unwrap().as_slice(), body].concat()
}

/// A place for strangers: each is turned away for this reason, and honest callers are served.
#[track_caller]
fn turned_away(place: &SecurePlace, secrets: &Secrets, reason: &str) {
    place.house.counted("rejected_total", &[(reason, 1)]);
    place.house.counted("disconnects_total", &[(reason, 1)]);
    let mut client = secrets.by_hand(&place.address, false);
    client.write_all(&frame(1, b"honest")).unwrap();
    eventually("the call", || place.desk.ran(ECHO) == 1);
}

#[test]
fn what_is_no_tls_is_told_so() {
    let secrets = Secrets::new();
    for first in [
        &b"PRPC\0\0\0\0\0\0\0\0"[..],
        b"P",
        b"GET / HTTP/1.1\r\n\r\n",
        &frame(1, MARK),
    ] {
        let place = SecurePlace::new(&by_id(), &secrets.server());
        let mut stranger = connect(&place.address);
        stranger.write_all(first).unwrap();
        // A fatal alert: unexpected_message.
        assert_eq!(rest(&mut stranger), [0x15, 3, 1, 0, 2, 2, 10]);
        turned_away(&place, &secrets, "tls_expected");
    }
}

#[test]
fn a_hello_of_nonsense_fails_the_handshake() {
    let secrets = Secrets::new();
    let mut short = secrets.hello();
    short[5] = 0x77;
    for first in [&short[..], &[0x16, 3, 1, 0, 4, 1, 0, 0, 0]] {
        let place = SecurePlace::new(&by_id(), &secrets.server());
        let mut stranger = connect(&place.address);
        stranger.write_all(first).unwrap();
        assert_eq!(rest(&mut stranger).first(), Some(&0x15), "an alert");
        turned_away(&place, &secrets, "tls_handshake");
    }
}

#[test]
fn who_ends_within_the_handshake_has_failed() {
    let secrets = Secrets::new();
    let place = SecurePlace::new(&by_id(), &secrets.server());
    let mut stranger = connect(&place.address);
    let hello = secrets.hello();
    stranger.write_all(&hello[..hello.len() / 2]).unwrap();
    stranger.shutdown(Shutdown::Write).unwrap();
    rest(&mut stranger);
    turned_away(&place, &secrets, "tls_handshake");
}

#[test]
fn who_does_not_end_the_handshake_in_time_is_let_go() {
    let secrets = Secrets::new();
    for first in [&b""[..], &[0x16], &secrets.hello()] {
        let setup = |setup: &mut support::Setup| setup.bounds.handshake_timeout = ms(60);
        let place = SecurePlace::with(&by_id(), &secrets.server(), setup);
        let mut stranger = connect(&place.address);
        stranger.write_all(first).unwrap();
        rest(&mut stranger);
        place
            .house
            .counted("rejected_total", &[("handshake_timeout", 1)]);
    }
}

#[test]
fn more_handshakes_than_may_be_are_closed_at_once() {
    let secrets = Secrets::new();
    let setup = |setup: &mut support::Setup| setup.bounds.handshakes = 2;
    let place = SecurePlace::with(&by_id(), &secrets.server(), setup);
    let silent = [connect(&place.address), connect(&place.address)];
    let mut late = connect(&place.address);
    assert_eq!(rest(&mut late), b"");
    place.house.counted("rejected_total", &[("tls_busy", 1)]);
    // One that goes makes room for one.
    drop(silent);
    place
        .house
        .counted("disconnects_total", &[("peer_closed", 2), ("tls_busy", 1)]);
    secrets.by_hand(&place.address, false);
}

#[test]
fn tls_where_none_is_spoken_has_a_name() {
    let secrets = Secrets::new();
    for codecs in [all(), vec![baidu()], vec![by_id()]] {
        let place = Place::with(&codecs[0], |setup| setup.codecs.clone_from(&codecs));
        let mut stranger = connect(&place.address);
        stranger.write_all(&secrets.hello()).unwrap();
        assert_eq!(rest(&mut stranger), b"");
        place
            .house
            .counted("rejected_total", &[("tls_unexpected", 1)]);
    }
}

#[test]
fn one_port_speaks_both_where_that_is_asked_for() {
    let secrets = Secrets::new();
    let settings = ServerSettings {
        also_plain: true,
        ..secrets.server()
    };
    for codecs in [all(), vec![by_id()]] {
        let change = |setup: &mut support::Setup| setup.codecs.clone_from(&codecs);
        let place = SecurePlace::with(&codecs[0], &settings, change);
        for codec in &codecs {
            let house = House::new();
            let calls = Calls::new();
            let plain = Target::Address(place.address.clone());
            for target in [plain, secrets.target(&place.address)] {
                let channel = house.caller(target, patient(), codec, b"");
                calls.call(&channel, ECHO, 1, NO_LIMIT);
                assert_eq!(calls.answer(1).body.bytes, numbered(1));
            }
        }
        let seen = (0..2 * codecs.len()).map(|link| place.desk.link(link).tls().is_some());
        let expected = [false, true].repeat(codecs.len());
        assert!(seen.eq(expected));
    }
}

#[test]
fn an_end_without_notice_between_frames_is_one_and_within_a_frame_is_none() {
    let secrets = Secrets::new();
    let whole = frame(1, b"whole");
    for (bytes, notice, kind) in [
        (&whole[..], true, CloseKind::PeerClosed),
        (&whole[..], false, CloseKind::PeerClosed),
        (
            &whole[..9],
            true,
            CloseKind::Rejected(RejectReason::Truncated),
        ),
        (
            &whole[..9],
            false,
            CloseKind::Rejected(RejectReason::Truncated),
        ),
    ] {
        let place = SecurePlace::new(&by_id(), &secrets.server());
        let mut client = secrets.by_hand(&place.address, false);
        client.write_all(bytes).unwrap();
        if notice {
            client.conn.send_close_notify();
        }
        client.flush().unwrap();
        client.sock.shutdown(Shutdown::Write).unwrap();
        eventually("the end", || place.desk.closes() == [kind]);
        // The other end says that it ends, if it could answer.
        if kind == CloseKind::PeerClosed {
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).unwrap();
            assert!(answer.ends_with(b"whole"));
        }
    }
}

#[test]
fn a_record_that_was_changed_on_its_way_ends_the_connection() {
    let secrets = Secrets::new();
    let place = SecurePlace::new(&by_id(), &secrets.server());
    let mut client = secrets.by_hand(&place.address, false);
    client.write_all(&frame(1, b"good")).unwrap();
    client.flush().unwrap();
    eventually("the call", || place.desk.ran(ECHO) == 1);
    client.conn.writer().write_all(&frame(2, b"bad")).unwrap();
    let mut record = Vec::new();
    client.conn.write_tls(&mut record).unwrap();
    *record.last_mut().unwrap() ^= 1;
    client.sock.write_all(&record).unwrap();
    place.house.counted("rejected_total", &[("tls_record", 1)]);
    let ran: Vec<_> = place.desk.happened();
    assert!(ran.contains(&Happened::Ran(ECHO, b"good".to_vec())));
    assert_eq!(place.desk.ran(ECHO), 1);
}

#[test]
fn other_settings_hold_for_new_connections_and_old_ones_go_on() {
    let (old, new) = (Secrets::new(), Secrets::new());
    let place = SecurePlace::new(&by_id(), &old.server());
    let mut before = old.by_hand(&place.address, false);
    let broken = ServerSettings {
        client_ca: Some(_core::net::tls::Pem {
            name: "ca".to_owned(),
            bytes: b"nothing".to_vec(),
        }),
        ..new.server()
    };
    let error = place.acceptor.reload(&broken).unwrap_err();
    assert_eq!(
        error.to_string(),
        "ca: there is no certificate in PEM in it"
    );
    drop(old.by_hand(&place.address, false));
    place.acceptor.reload(&new.server()).unwrap();
    let mut after = new.by_hand(&place.address, false);
    for client in [&mut before, &mut after] {
        client.write_all(&frame(1, b"still")).unwrap();
        client.flush().unwrap();
    }
    eventually("both calls", || place.desk.ran(ECHO) == 2);
    assert!(TlsAcceptor::new(&broken).is_err());
}

#[test]
fn calls_end_by_their_deadline_and_a_stop_waits_for_them() {
    let secrets = Secrets::new();
    for codec in [baidu(), by_id()] {
        let place = SecurePlace::new(&codec, &secrets.server());
        let house = House::new();
        let channel = house.caller(secrets.target(&place.address), patient(), &codec, b"");
        let calls = Calls::new();
        calls.call(&channel, ECHO, 0, NO_LIMIT);
        calls.answer(0);
        place.house.gate.shut();
        calls.call(&channel, WAIT, 1, Some(ms(60)));
        assert_eq!(calls.failure(1).code, Code::DeadlineExceeded);
        calls.call(&channel, WAIT, 2, NO_LIMIT);
        eventually("the handlers", || place.desk.ran(WAIT) >= 1);
        eventually("all calls", || {
            place.house.count("calls_received_total") == 3
        });
        let (server, handle) = (Arc::clone(&place.server), place.house.runtime().handle());
        let stopping = thread::spawn(move || handle.block_on(server.stop(GRACE)));
        thread::sleep(ms(30));
        place.house.gate.open();
        assert_eq!(calls.answer(2).body.bytes, numbered(2));
        let cut = stopping.join().unwrap();
        assert_eq!((cut.connections, cut.calls), (0, 0));
    }
}

#[test]
fn a_server_that_ended_is_noticed_before_a_call_is_written() {
    let secrets = Secrets::new();
    let codec: Arc<dyn Codec> = baidu();
    let place = SecurePlace::new(&codec, &secrets.server());
    let house = House::new();
    let channel = house.caller(secrets.target(&place.address), patient(), &codec, b"");
    let calls = Calls::new();
    calls.call(&channel, ECHO, 1, NO_LIMIT);
    calls.answer(1);
    let address = place.address.clone();
    place.house.stop(&place.server, Duration::ZERO);
    drop(place);
    // Called while nobody is there: not lost with the connection that was.
    calls.call(&channel, ECHO, 2, NO_LIMIT);
    thread::sleep(ms(20));
    let again = House::new();
    let listener = again.listen(&address).unwrap();
    let (server, _) = again.desk(support::Setup::of(&codec));
    let acceptor = TlsAcceptor::new(&secrets.server()).unwrap();
    server.listen_tls(&again.runtime().handle(), listener, acceptor);
    assert_eq!(calls.answer(2).body.bytes, numbered(2));
}
