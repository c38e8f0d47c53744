//! The channel on real sockets, without Python: each call ends exactly once, and in order.
#![cfg(test)]

mod support;

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use _core::net::address::Address;
use _core::net::client::ChannelOptions;
use _core::net::server::Server;
use _core::status::Code;
use proptest::prelude::*;
use support::{
    Calls, ECHO, Folder, GRACE, House, NO_LIMIT, NOTE, PATIENCE, Peer, call, done, eventually,
    loopback, ms, numbered, outbound, patient,
};

fn impatient() -> ChannelOptions {
    ChannelOptions {
        wait_for_ready: false,
        ..patient()
    }
}

fn numbers(count: u32) -> Vec<Vec<u8>> {
    (0..count).map(numbered).collect()
}

/// An address at which nobody listens.
fn nowhere() -> Address {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().to_string().parse().unwrap()
}

#[test]
fn nothing_is_connected_before_the_first_call() {
    let (theirs, ours) = (House::new(), House::new());
    let (_server, address) = theirs.serve(&loopback());
    let (channel, notes) = ours.channel(&address, patient(), false);
    thread::sleep(ms(30));
    assert_eq!(theirs.count("connections_total"), 0);
    assert!(!channel.is_connected());
    let calls = Calls::new();
    calls.call(&channel, NOTE, 0, NO_LIMIT);
    assert_eq!(calls.next(), (0, done()));
    assert!(channel.is_connected());
    // The first one had to wait; the line is free a moment after its end was told.
    thread::sleep(ms(30));
    for number in 1..100 {
        // On a connection that is there, a call has ended when it returns.
        calls.call(&channel, NOTE, number, NO_LIMIT);
        assert_eq!(calls.told(), (number, done()));
    }
    eventually("all calls", || theirs.noted() == numbers(100));
    assert_eq!(ours.count("connects_total"), 1);
    // Nobody serves here, so nobody is told of the connection.
    assert_eq!(notes.seen(), []);
}

#[test]
fn calls_wait_while_the_server_is_away_and_then_go_in_order() {
    let (theirs, ours, folder) = (House::new(), House::new(), Folder::new());
    let (channel, _) = ours.channel(&folder.address(), patient(), false);
    let calls = Calls::new();
    for number in 0..100 {
        calls.call(&channel, NOTE, number, NO_LIMIT);
        calls.assert_none_told();
    }
    calls.assert_silent();
    let _server = theirs.serve(&folder.address());
    for number in 0..100 {
        assert_eq!(calls.next(), (number, done()));
    }
    eventually("all calls", || theirs.noted() == numbers(100));
    assert_eq!(ours.count("connects_total"), 1);
}

#[test]
fn a_deadline_names_what_was_in_the_way() {
    let ours = House::new();
    let address = nowhere();
    let (channel, _) = ours.channel(&address, patient(), false);
    let calls = Calls::new();
    let start = Instant::now();
    calls.call(&channel, NOTE, 0, Some(ms(80)));
    let status = calls.failure(0);
    assert!((ms(80)..ms(2000)).contains(&start.elapsed()));
    assert_eq!(status.code, Code::DeadlineExceeded);
    let expected = format!("cannot connect to {address}: Connection refused (os error 111)");
    assert!(status.text.contains(&expected), "{status}");
    let within = status.text.strip_prefix("not sent within ").unwrap();
    let within: f64 = within.split_once(" s: ").unwrap().0.parse().unwrap();
    assert!((0.05..2.0).contains(&within), "{status}");

    let folder = Folder::new();
    let (channel, _) = ours.channel(&folder.address(), patient(), false);
    calls.call(&channel, NOTE, 1, Some(ms(40)));
    let status = calls.next().1.unwrap_err();
    assert!(status.text.contains("No such file"), "{status}");
}

#[test]
fn a_last_attempt_is_made_shortly_before_a_deadline() {
    let (theirs, ours, folder) = (House::new(), House::new(), Folder::new());
    let options = ChannelOptions {
        backoff_max: GRACE,
        ..patient()
    };
    let (channel, _) = ours.channel(&folder.address(), options, false);
    let calls = Calls::new();
    calls.call(&channel, NOTE, 0, NO_LIMIT);
    // The pause after that is between 0.64 and 1.28 s.
    eventually("many attempts", || {
        ours.count("connect_failures_total") == 9
    });
    let _server = theirs.serve(&folder.address());
    calls.call(&channel, NOTE, 1, Some(ms(450)));
    assert_eq!(calls.next(), (0, done()));
    assert_eq!(calls.next(), (1, done()));
}

#[test]
fn calls_that_are_not_to_wait_fail_at_the_first_failed_attempt() {
    let ours = House::new();
    let address = nowhere();
    let options = ChannelOptions {
        backoff_min: ms(2000),
        backoff_max: ms(2000),
        ..impatient()
    };
    let (channel, _) = ours.channel(&address, options, false);
    let calls = Calls::new();
    // The I/O thread is kept busy until all are made: they stand before the same attempt.
    let (go, gone) = std::sync::mpsc::channel::<()>();
    ours.runtime().handle().spawn(async move { gone.recv() });
    let start = Instant::now();
    for number in 0..50 {
        calls.call(&channel, NOTE, number, NO_LIMIT);
    }
    drop(go);
    for number in 0..50 {
        let (who, outcome) = calls.next();
        let status = outcome.unwrap_err();
        assert_eq!((who, status.code), (number, Code::Unavailable));
        assert!(
            status
                .text
                .starts_with(&format!("cannot connect to {address}: ")),
            "{status}"
        );
    }
    assert!(start.elapsed() < ms(900), "{:?}", start.elapsed());
}

#[test]
fn a_channel_that_may_not_wait_fails_at_once_until_an_attempt_succeeds() {
    let (theirs, ours, folder) = (House::new(), House::new(), Folder::new());
    let (channel, _) = ours.channel(&folder.address(), impatient(), false);
    let calls = Calls::new();
    calls.call(&channel, NOTE, 0, NO_LIMIT);
    assert_eq!(calls.next().1.unwrap_err().code, Code::Unavailable);
    let _server = theirs.serve(&folder.address());
    eventually("a later call", || {
        calls.call(&channel, NOTE, 1, NO_LIMIT);
        calls.next().1.is_ok()
    });
    eventually("the call", || theirs.noted() == [numbered(1)]);
}

#[test]
fn a_cancelled_call_is_never_sent() {
    let (theirs, ours, folder) = (House::new(), House::new(), Folder::new());
    let (channel, _) = ours.channel(&folder.address(), patient(), false);
    let calls = Calls::new();
    let deliveries: Vec<_> = (0..10)
        .map(|number| calls.call(&channel, NOTE, number, NO_LIMIT))
        .collect();
    for number in [3, 0, 9] {
        deliveries[number as usize].cancel();
        deliveries[number as usize].cancel();
        let (who, outcome) = calls.next();
        assert_eq!((who, outcome.unwrap_err().code), (number, Code::Cancelled));
    }
    let _server = theirs.serve(&folder.address());
    let left = [1, 2, 4, 5, 6, 7, 8];
    for number in left {
        assert_eq!(calls.next(), (number, done()));
    }
    for delivery in deliveries {
        delivery.cancel();
    }
    eventually("all calls", || theirs.noted() == left.map(numbered));
    calls.assert_silent();
}

#[test]
fn connecting_is_a_call_without_a_call() {
    let (theirs, ours) = (House::new(), House::new());
    let (_server, address) = theirs.serve(&loopback());
    let (channel, _) = ours.channel(&address, patient(), false);
    let calls = Calls::new();
    drop(channel.connect(NO_LIMIT, calls.waiter(0)));
    assert_eq!(calls.next(), (0, done()));
    assert!(channel.is_connected());
    drop(channel.connect(NO_LIMIT, calls.waiter(1)));
    assert_eq!(calls.next(), (1, done()));
    assert_eq!(ours.count("connects_total"), 1);
    assert_eq!(ours.count("calls_sent_total"), 0);
}

#[test]
fn connecting_takes_its_turn_behind_the_calls_that_wait() {
    let (theirs, ours, folder) = (House::new(), House::new(), Folder::new());
    let (channel, _) = ours.channel(&folder.address(), patient(), false);
    let calls = Calls::new();
    for number in 0..50 {
        calls.call(&channel, NOTE, number, NO_LIMIT);
    }
    drop(channel.connect(NO_LIMIT, calls.waiter(50)));
    let _server = theirs.serve(&folder.address());
    for number in 0..=50 {
        assert_eq!(calls.next(), (number, done()));
    }
}

#[test]
fn the_peer_calls_back_over_the_same_connection() {
    let (theirs, ours) = (House::new(), House::new());
    let (_server, address) = theirs.serve(&loopback());
    let (channel, notes) = ours.channel(&address, patient(), true);
    let calls = Calls::new();
    for number in 0..50 {
        calls.call(&channel, ECHO, number, NO_LIMIT);
    }
    eventually("all answers", || notes.noted() == numbers(50));
    for number in 0..50 {
        assert_eq!(calls.next(), (number, done()));
    }

    // A channel that serves nothing ignores what it is told, and stays.
    let (channel, notes) = ours.channel(&address, patient(), false);
    calls.call(&channel, ECHO, 50, NO_LIMIT);
    assert_eq!(calls.next(), (50, done()));
    eventually("the count", || ours.count("rejected_total") == 1);
    assert_eq!(ours.counts("rejected_total"), [("unknown_method", 1)]);
    assert!(channel.is_connected());
    assert_eq!(notes.seen(), []);
}

#[test]
fn a_restarted_server_is_found_by_the_next_call() {
    let (theirs, ours, folder) = (House::new(), House::new(), Folder::new());
    let (channel, _) = ours.channel(&folder.address(), patient(), false);
    let calls = Calls::new();
    for number in 0..5 {
        let (server, _) = theirs.serve(&folder.address());
        calls.call(&channel, NOTE, number, Some(GRACE));
        assert_eq!(calls.next(), (number, done()));
        eventually("the call", || theirs.noted() == numbers(number + 1));
        theirs.stop(&server, Duration::ZERO);
        eventually("the loss", || !channel.is_connected());
    }
    // Nobody needs it any more, so it rests.
    eventually("all connected", || ours.count("connects_total") == 5);
    let failures = ours.count("connect_failures_total");
    thread::sleep(ms(100));
    assert_eq!(ours.count("connect_failures_total"), failures);
}

#[test]
fn a_channel_that_serves_comes_back_by_itself() {
    let (theirs, ours, folder) = (House::new(), House::new(), Folder::new());
    let options = ChannelOptions {
        keep_connected: true,
        ..patient()
    };
    let (channel, notes) = ours.channel(&folder.address(), options, true);
    drop(channel.connect(NO_LIMIT, Calls::new().waiter(0)));
    for round in 0..4 {
        let (server, _) = theirs.serve(&folder.address());
        let session = theirs.session(round);
        let link = session.link();
        call(&link, u32::from(NOTE), &[round.to_le_bytes()[0]]).unwrap();
        eventually("the push", || notes.noted().len() == round + 1);
        theirs.stop(&server, Duration::ZERO);
    }
    assert_eq!(ours.count("connects_total"), 4);
    ours.close(&channel, GRACE);
    thread::sleep(ms(60));
    let failures = ours.count("connect_failures_total");
    thread::sleep(ms(100));
    assert_eq!(ours.count("connect_failures_total"), failures);
}

#[test]
fn attempts_grow_apart_and_do_not_spin() {
    let ours = House::new();
    let options = ChannelOptions {
        backoff_min: ms(10),
        backoff_max: ms(80),
        ..patient()
    };
    let (channel, _) = ours.channel(&nowhere(), options.clone(), false);
    let calls = Calls::new();
    calls.call(&channel, NOTE, 0, Some(ms(500)));
    assert_eq!(calls.next().1.unwrap_err().code, Code::DeadlineExceeded);
    // Pauses of 10, 20, 40, 80, 80 … or half of each; one attempt before the first.
    let failures = ours.count("connect_failures_total");
    assert!((3..=16).contains(&failures), "{failures}");

    // A port that accepts and closes is no better.
    let (ours, folder) = (House::new(), Folder::new());
    let listener = UnixListener::bind(folder.file("socket")).unwrap();
    thread::spawn(move || {
        // It ends with the test's process.
        for stream in listener.incoming() {
            drop(stream);
        }
    });
    let options = ChannelOptions {
        keep_connected: true,
        ..options
    };
    let (channel, _) = ours.channel(&folder.address(), options, true);
    drop(channel.connect(NO_LIMIT, Calls::new().waiter(0)));
    thread::sleep(ms(500));
    let connects = ours.count("connects_total");
    assert!((3..=16).contains(&connects), "{connects}");
}

#[test]
fn an_attempt_has_its_own_limit() {
    let ours = House::new();
    // A full backlog: the system answers no further connect.
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    let folder = Folder::new();
    let path = folder.file("socket");
    socket
        .bind(&socket2::SockAddr::unix(&path).unwrap())
        .unwrap();
    socket.listen(0).unwrap();
    let fill = || {
        let peer = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
        peer.set_nonblocking(true)?;
        peer.connect(&socket2::SockAddr::unix(&path)?)
            .map(|()| peer)
    };
    let mut filled = Vec::new();
    while let Ok(peer) = fill() {
        filled.push(peer);
    }
    assert_eq!(fill().unwrap_err().kind(), ErrorKind::WouldBlock);
    let options = ChannelOptions {
        connect_timeout: ms(50),
        ..impatient()
    };
    let (channel, _) = ours.channel(&folder.address(), options, false);
    let calls = Calls::new();
    calls.call(&channel, NOTE, 0, Some(GRACE));
    let status = calls.next().1.unwrap_err();
    assert_eq!(status.code, Code::Unavailable, "{status}");
}

#[test]
fn a_peer_that_does_not_read_makes_calls_wait_and_then_fail_by_name() {
    let (ours, folder) = (House::new(), Folder::new());
    let listener = UnixListener::bind(folder.file("socket")).unwrap();
    let (channel, _) = ours.channel(&folder.address(), patient(), false);
    let calls = Calls::new();
    let body = vec![7; 100_000];
    for number in 0..100 {
        calls.make(&channel, number, outbound(0, body.clone(), NO_LIMIT));
    }
    let mut peer = Peer::unix(listener.accept().unwrap().0);
    let mut sent = 0;
    while let Some(told) = calls.next_within(ms(200)) {
        assert_eq!(told, (sent, done()));
        sent += 1;
    }
    assert!((40..60).contains(&sent), "{sent}");
    // Not before those that wait.
    calls.call(&channel, NOTE, 100, Some(ms(30)));
    let status = calls.failure(100);
    assert_eq!(status.code, Code::DeadlineExceeded);
    assert!(
        status.text.contains("does not read what was sent"),
        "{status}"
    );
    for _ in 0..100 {
        assert_eq!(peer.receive(), Some((NOTE, body.clone())));
    }
    for number in sent..100 {
        assert_eq!(calls.next(), (number, done()));
    }
    assert_eq!(ours.count("calls_sent_total"), 100);
}

#[test]
fn a_close_writes_what_waits() {
    let (ours, folder) = (House::new(), Folder::new());
    let listener = UnixListener::bind(folder.file("socket")).unwrap();
    let (channel, _) = ours.channel(&folder.address(), patient(), false);
    let calls = Calls::new();
    let body = vec![7; 100_000];
    for number in 0..30 {
        calls.make(&channel, number, outbound(0, body.clone(), NO_LIMIT));
        assert_eq!(calls.next(), (number, done()));
    }
    let mut peer = Peer::unix(listener.accept().unwrap().0);
    let reader = thread::spawn(move || {
        thread::sleep(ms(50));
        peer.drain()
    });
    ours.close(&channel, GRACE);
    assert_eq!(reader.join().unwrap(), vec![body; 30]);
    assert_eq!(ours.count("calls_unsent_total"), 0);
    eventually("the end", || ours.count("connections") == 0);
    assert_eq!(ours.counts("disconnects_total"), [("closed", 1)]);
    assert!(!channel.is_connected());
    calls.call(&channel, NOTE, 30, NO_LIMIT);
    let refused = calls.failure(30);
    assert_eq!(refused.code, Code::Unavailable);
    assert!(refused.text.contains("is closed"), "{refused}");
    ours.close(&channel, GRACE);
}

#[test]
fn a_close_ends_waiting_calls_and_cuts_after_its_grace() {
    let (ours, folder) = (House::new(), Folder::new());
    let listener = UnixListener::bind(folder.file("socket")).unwrap();
    let (channel, _) = ours.channel(&folder.address(), patient(), false);
    let calls = Calls::new();
    for number in 0..100 {
        calls.make(&channel, number, outbound(0, vec![7; 100_000], NO_LIMIT));
    }
    let _peer = listener.accept().unwrap();
    thread::sleep(ms(100));
    let start = Instant::now();
    ours.close(&channel, ms(100));
    assert!(start.elapsed() >= ms(100));
    let (sent, unsent): (Vec<_>, Vec<_>) = calls
        .rest()
        .into_iter()
        .partition(|(_, outcome)| outcome.is_ok());
    assert_eq!(sent.len() + unsent.len(), 100);
    assert!(sent.len() >= 40);
    assert!(unsent.iter().all(|(_, outcome)| {
        let status = outcome.as_ref().unwrap_err();
        status.code == Code::Unavailable && status.text.contains("is closed")
    }));
    eventually("the end", || ours.count("connections") == 0);
    assert_eq!(ours.count("calls_sent_total"), sent.len() as u64);
    assert!(ours.count("calls_unsent_total") >= 30);
}

#[test]
fn a_close_while_connecting_ends_the_calls() {
    let (ours, folder) = (House::new(), Folder::new());
    let (channel, _) = ours.channel(&folder.address(), patient(), false);
    let calls = Calls::new();
    for number in 0..10 {
        calls.call(&channel, NOTE, number, NO_LIMIT);
    }
    thread::sleep(ms(20));
    ours.close(&channel, GRACE);
    let rest = calls.rest();
    assert_eq!(rest.len(), 10);
    assert!(
        rest.iter()
            .all(|(_, outcome)| outcome.as_ref().is_err_and(|s| s.text.contains("closed")))
    );
    let failures = ours.count("connect_failures_total");
    thread::sleep(ms(100));
    assert_eq!(ours.count("connect_failures_total"), failures);
}

#[test]
fn a_runtime_that_is_dropped_tells_each_waiting_call_once() {
    let (mut ours, folder) = (House::new(), Folder::new());
    let (channel, _) = ours.channel(&folder.address(), patient(), false);
    let calls = Calls::new();
    let deliveries: Vec<_> = (0..100)
        .map(|number| calls.call(&channel, NOTE, number, (number % 2 == 0).then_some(GRACE)))
        .collect();
    thread::sleep(ms(10));
    ours.stop_runtime();
    for delivery in deliveries {
        delivery.cancel();
    }
    // Nor is a call forgotten that comes too late.
    calls.call(&channel, NOTE, 100, NO_LIMIT);
    let rest = calls.rest();
    assert!(rest.iter().map(|(number, _)| *number).eq(0..=100));
    for (_, outcome) in rest {
        let status = outcome.unwrap_err();
        assert_eq!(status.code, Code::Unavailable);
        assert_eq!(status.text, "the channel was shut down");
    }
}

/// One thing that happens in the model below.
#[derive(Debug, Clone)]
enum Step {
    /// A call, at once where that can be.
    Call,
    /// A call with a deadline of so many milliseconds.
    CallWithin(u64),
    /// The call made so many calls ago is cancelled.
    Cancel(usize),
    /// The server is gone at once, or comes back.
    Toggle,
    /// So many milliseconds pass.
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Call),
        3 => (1u64..40).prop_map(Step::CallWithin),
        2 => (0usize..6).prop_map(Step::Cancel),
        1 => Just(Step::Toggle),
        3 => (0u64..12).prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 20..120)
}

/// The server of the model; it comes and goes.
struct Shop {
    house: House,
    address: Address,
    server: Option<Arc<Server>>,
    kills: u32,
}

impl Shop {
    fn toggle(&mut self) {
        if let Some(server) = self.server.take() {
            self.house.stop(&server, Duration::ZERO);
            self.kills += 1;
        } else {
            self.server = Some(self.house.serve(&self.address).0);
        }
    }
}

fn play(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let folder = Folder::new();
    let ours = House::new();
    let mut shop = Shop {
        house: House::new(),
        address: folder.address(),
        server: None,
        kills: 0,
    };
    let (channel, _) = ours.channel(&shop.address, patient(), false);
    let calls = Calls::new();
    let mut deliveries = Vec::new();
    for step in steps {
        let number = u32::try_from(deliveries.len()).unwrap();
        match step {
            Step::Call => deliveries.push(calls.call(&channel, NOTE, number, NO_LIMIT)),
            Step::CallWithin(limit) => {
                deliveries.push(calls.call(&channel, NOTE, number, Some(ms(limit))));
            }
            Step::Cancel(back) => {
                if let Some(delivery) = deliveries.iter().rev().nth(back) {
                    delivery.cancel();
                }
            }
            Step::Toggle => shop.toggle(),
            Step::Pass(limit) => thread::sleep(ms(limit)),
        }
    }
    if shop.server.is_none() {
        shop.toggle();
    }
    let connected = Calls::new();
    drop(channel.connect(Some(PATIENCE), connected.waiter(0)));
    prop_assert_eq!(connected.next(), (0, done()));
    ours.close(&channel, GRACE);

    let told = calls.rest();
    let made = u32::try_from(deliveries.len()).unwrap();
    prop_assert!(
        told.iter().map(|(number, _)| *number).eq(0..made),
        "{told:?}"
    );

    let sent = told.iter().filter(|(_, outcome)| outcome.is_ok()).count();
    let house = &shop.house;
    eventually("the end", || house.count("connections") == 0);
    let seen = || house.noted().len();
    if shop.kills == 0 {
        eventually("all calls", || seen() == sent);
    }
    let noted: Vec<u32> = house
        .noted()
        .into_iter()
        .map(|body| u32::from_be_bytes(body.try_into().unwrap()))
        .collect();
    prop_assert!(
        noted.is_sorted_by(|a, b| a < b),
        "doubled or out of order: {noted:?}"
    );
    for number in noted {
        // What was told to have failed never arrived.
        prop_assert_eq!(&told[number as usize].1, &done());
    }
    for (_, outcome) in told {
        let codes = [Code::DeadlineExceeded, Code::Cancelled];
        let code = outcome.as_ref().err().map(|status| status.code);
        prop_assert!(code.is_none_or(|code| codes.contains(&code)), "{outcome:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 12,
        failure_persistence: None,
        max_shrink_iters: 20,
        ..ProptestConfig::default()
    })]

    /// Calls, cancellations and deadlines against a server that comes and goes.
    #[test]
    fn each_call_ends_once_and_arrives_at_most_once_in_order(steps in steps()) {
        play(steps)?;
    }
}
