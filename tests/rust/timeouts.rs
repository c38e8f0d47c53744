//! How long a peer may keep a server waiting, in simulated time, and with the limits that are usual.
#![cfg(test)]

mod simulation;

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use _core::call::{
    Call, CloseKind, CloseReason, Ended, Event, Link, Outbound, Session, Turn, Waiter,
};
use _core::metrics::{Counters, Value};
use _core::net::client::{Channel, ChannelOptions, Dial};
use _core::net::server::Server;
use _core::net::{Stream, Timeouts, Transport as _};
use _core::wire::baidu_std::BaiduStdCodec;
use _core::wire::indexed::{IndexedCodec, Layout, Reply};
use _core::wire::{Answers, Codec, Extras, OutgoingCall, Payload, limits};
use bytes::{Bytes, BytesMut};
use simulation::{End, Stage, count, method, pipe};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until, timeout};

const IDLE: Duration = Duration::from_secs(600);
const STALL: Duration = Duration::from_secs(30);
/// Between two looks, at most.
const PAUSE: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
/// Bytes that a connection has room for on each way.
const ROOM: usize = 64 * 1024;
const ECHO: usize = 1;
const KEEP: usize = 3;

fn baidu() -> Arc<dyn Codec> {
    Arc::new(BaiduStdCodec::new(limits::MESSAGE_BYTES))
}

fn indexed(id_width: usize, reply: Reply) -> Arc<dyn Codec> {
    let layout = Layout {
        id_width,
        reply,
        ..Layout::default()
    };
    Arc::new(IndexedCodec::new(layout.checked().unwrap()))
}

fn wires() -> [Arc<dyn Codec>; 4] {
    [
        baidu(),
        indexed(4, Reply::ById),
        indexed(0, Reply::InOrder),
        indexed(0, Reply::None),
    ]
}

/// Answers, or keeps a call until it is let go of.
#[derive(Debug, Default)]
struct Desk {
    kept: Mutex<Vec<Call>>,
    links: Mutex<Vec<Weak<dyn Link>>>,
}

impl Desk {
    fn answer(call: &Call) {
        let body = Payload::plain(call.body.bytes.clone());
        call.ticket.respond(&body, &Extras::NONE);
    }

    fn let_go(&self) {
        self.kept
            .lock()
            .unwrap()
            .drain(..)
            .for_each(|call| Self::answer(&call));
    }

    fn link(&self) -> Arc<dyn Link> {
        self.links.lock().unwrap()[0].upgrade().unwrap()
    }
}

impl Session for Desk {
    fn handle(&self, link: &Arc<dyn Link>, event: Event, _: &mut Turn<'_>) {
        match event {
            Event::Opened => self.links.lock().unwrap().push(Arc::downgrade(link)),
            Event::Credential(..) => {}
            Event::Call(call) if call.place.method == KEEP => self.kept.lock().unwrap().push(call),
            Event::Call(call) => Self::answer(&call),
            Event::Closed(_) => link.finish(CloseReason::new(CloseKind::Closed, "all is said")),
        }
    }
}

/// A server on a stage of its own.
struct Scene {
    stage: Stage,
    server: Arc<Server>,
    desk: Arc<Desk>,
    counters: Arc<Counters>,
    codec: Arc<dyn Codec>,
}

impl Scene {
    fn new(codec: &Arc<dyn Codec>) -> Self {
        Self::with(codec, |_| {})
    }

    fn with(codec: &Arc<dyn Codec>, change: impl FnOnce(&mut Stage)) -> Self {
        let mut stage = Stage::new();
        stage.timeouts = Timeouts {
            idle: Some(IDLE),
            frame: STALL,
            write: STALL,
        };
        change(&mut stage);
        let (desk, counters) = (Arc::<Desk>::default(), Arc::<Counters>::default());
        let server = stage.server(&[Arc::clone(codec)], Arc::clone(&desk) as _, &counters);
        Self {
            stage,
            server,
            desk,
            counters,
            codec: Arc::clone(codec),
        }
    }

    fn play<F: Future>(&self, scene: F) -> F::Output {
        self.stage.play_for(Duration::from_secs(100_000), scene)
    }

    fn connect(&self) -> Peer {
        let (near, far, _) = pipe(ROOM, false);
        let far = Stream::Other(Box::new(far));
        let handle = self.stage.driver.handle();
        self.server.welcome(handle, far, "a peer".to_owned());
        Peer {
            end: near,
            codec: Arc::clone(&self.codec),
        }
    }

    fn ended(&self, name: &str) -> Vec<(&'static str, u64)> {
        let mut all = self.counters.snapshot().into_iter();
        match all.find(|(other, _)| *other == name).unwrap().1 {
            Value::Labelled(counts) => counts,
            Value::Number(number) => panic!("{name} is {number}"),
        }
    }

    /// The only connection ended for that reason.
    #[track_caller]
    fn ended_by(&self, kind: &'static str) {
        assert_eq!(self.ended("disconnects_total"), [(kind, 1)]);
        assert_eq!(count(&self.counters, "connections"), 0);
        assert_eq!(count(&self.counters, "panics_total"), 0);
    }
}

/// The other end of a connection, by hand.
struct Peer {
    end: End,
    codec: Arc<dyn Codec>,
}

impl Peer {
    fn frame(&self, id: u64, index: usize, body: &[u8]) -> Vec<u8> {
        let payload = Payload::plain(Bytes::copy_from_slice(body));
        let call = OutgoingCall {
            method: &method(index),
            id: Some(id),
            timeout: None,
            body: (&payload).into(),
            extras: &Extras::default(),
        };
        [self.codec.call_head(&call).unwrap().as_slice(), body].concat()
    }

    fn send(&self, bytes: &[u8]) {
        let written = self.end.try_write(&[IoSlice::new(bytes)]).unwrap();
        assert_eq!(written, bytes.len());
    }

    /// What comes next; `None` at the end, however it ended.
    async fn read(&self) -> Option<BytesMut> {
        let mut buffer = BytesMut::with_capacity(4096);
        loop {
            poll_fn(|context| self.end.poll_readable(context))
                .await
                .ok()?;
            match self.end.try_read(&mut buffer) {
                Ok(0) => return None,
                Ok(_) => return Some(buffer),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    }

    /// When the other end ends the connection.
    async fn end(&self) -> Instant {
        while self.read().await.is_some() {}
        Instant::now()
    }

    /// Whether it does so within `time`.
    async fn ends_within(&self, time: Duration) -> bool {
        timeout(time, self.end()).await.is_ok()
    }
}

#[test]
fn a_connection_over_which_nothing_goes_is_closed_in_time() {
    for codec in wires() {
        let scene = Scene::new(&codec);
        scene.play(async {
            let peer = scene.connect();
            let start = Instant::now();
            assert!(
                !peer.ends_within(IDLE.saturating_sub(MS)).await,
                "too early"
            );
            assert!(peer.end().await - start <= IDLE + MS);
            drop(peer);
            sleep(SECOND).await;
        });
        scene.ended_by("idle_timeout");
        assert_eq!(scene.ended("rejected_total"), []);
    }
}

#[test]
fn a_peer_that_does_not_end_its_side_is_not_waited_for() {
    let scene = Scene::new(&baidu());
    scene.play(async {
        let peer = scene.connect();
        peer.end().await;
        sleep(2 * SECOND).await;
    });
    scene.ended_by("idle_timeout");
}

#[test]
fn without_a_limit_it_stays() {
    let scene = Scene::with(&baidu(), |stage| stage.timeouts.idle = None);
    scene.play(async {
        let peer = scene.connect();
        assert!(!peer.ends_within(50 * IDLE).await);
        peer.send(&peer.frame(1, ECHO, b"still there"));
        assert!(peer.read().await.is_some());
    });
}

#[test]
fn what_comes_or_goes_keeps_it() {
    for codec in wires() {
        let scene = Scene::new(&codec);
        scene.play(async {
            let peer = scene.connect();
            let mut last_call = Instant::now();
            for turn in 0..5 {
                last_call = Instant::now();
                peer.send(&peer.frame(turn, ECHO, b"x"));
                assert!(!peer.ends_within(IDLE.saturating_sub(SECOND)).await);
            }
            // A server that calls.
            let mut last = last_call;
            if codec.traits().answers == Answers::Never {
                for _ in 0..3 {
                    let call = Outbound {
                        method: method(0),
                        body: Payload::default(),
                        extras: Extras::default(),
                        deadline: None,
                    };
                    scene.desk.link().call(&call, Waiter::new(drop));
                    last = Instant::now();
                    assert!(!peer.ends_within(IDLE.saturating_sub(SECOND)).await);
                }
            }
            let waited = peer.end().await - last;
            assert!((IDLE..=IDLE + PAUSE).contains(&waited), "{waited:?}");
            drop(peer);
            sleep(SECOND).await;
        });
        scene.ended_by("idle_timeout");
    }
}

#[test]
fn a_call_under_way_keeps_it_and_so_does_its_end() {
    for codec in &wires()[..3] {
        let scene = Scene::new(codec);
        scene.play(async {
            let peer = scene.connect();
            peer.send(&peer.frame(1, KEEP, b"long"));
            assert!(!peer.ends_within(3 * IDLE + SECOND / 3).await);
            scene.desk.let_go();
            assert!(peer.read().await.is_some());
            let answered = Instant::now();
            let waited = peer.end().await - answered;
            assert!((IDLE..=IDLE + 2 * PAUSE).contains(&waited), "{waited:?}");
            drop(peer);
            sleep(SECOND).await;
        });
        scene.ended_by("idle_timeout");
    }
}

#[test]
fn the_rest_of_a_frame_must_come_in_time() {
    for codec in wires() {
        let scene = Scene::new(&codec);
        scene.play(async {
            let peer = scene.connect();
            let frame = peer.frame(1, ECHO, b"a body");
            // At no moment of the looks that are made in any case.
            sleep(IDLE / 7).await;
            for byte in &frame[..5] {
                peer.send(&[*byte]);
                assert!(
                    !peer.ends_within(STALL.saturating_sub(MS)).await,
                    "too early"
                );
            }
            peer.send(&frame[5..6]);
            let start = Instant::now();
            assert!(
                !peer.ends_within(STALL.saturating_sub(MS)).await,
                "too early"
            );
            assert!(peer.end().await - start <= STALL + MS);
        });
        scene.ended_by("frame_timeout");
        assert_eq!(scene.ended("rejected_total"), [("frame_timeout", 1)]);
    }
}

#[test]
fn a_frame_that_comes_slowly_is_served() {
    for codec in &wires()[..3] {
        let scene = Scene::new(codec);
        scene.play(async {
            let peer = scene.connect();
            let frame = peer.frame(1, ECHO, b"a body");
            for byte in frame {
                sleep(STALL.saturating_sub(MS)).await;
                peer.send(&[byte]);
            }
            assert!(peer.read().await.is_some());
            // Between two frames there is nothing to wait for.
            assert!(!peer.ends_within(2 * STALL).await);
        });
    }
}

/// Nobody waits for a frame that is not read: its peer has more to read itself first.
#[test]
fn a_frame_that_this_end_does_not_read_may_take_its_time() {
    let scene = Scene::with(&indexed(0, Reply::InOrder), |stage| {
        stage.timeouts.write = 10 * IDLE;
    });
    scene.play(async {
        let peer = scene.connect();
        // The first answer waits, and with it all others: nothing more is read above 1024 of them.
        peer.send(&peer.frame(0, KEEP, b""));
        let call = peer.frame(0, ECHO, b"");
        let calls = call.repeat(1100);
        peer.send(&calls);
        sleep(SECOND).await;
        peer.send(&call[..call.len() - 1]);
        assert!(!peer.ends_within(10 * STALL).await);
        scene.desk.let_go();
        // Now it is waited for.
        let start = Instant::now();
        let waited = peer.end().await - start;
        assert!(
            (STALL.saturating_sub(MS)..=STALL + MS).contains(&waited),
            "{waited:?}"
        );
    });
    scene.ended_by("frame_timeout");
}

/// Has answers wait that fill the way to a peer.
fn fill(peer: &Peer) {
    let frame = peer.frame(1, ECHO, &[7; 8 * 1024]);
    for _ in 0..7 {
        peer.send(&frame);
    }
}

#[test]
fn a_peer_that_does_not_read_its_answers_is_let_go_in_time() {
    for codec in &wires()[..3] {
        let scene = Scene::new(codec);
        scene.play(async {
            let peer = scene.connect();
            fill(&peer);
            sleep(SECOND).await;
            fill(&peer);
            let start = Instant::now();
            sleep(STALL.saturating_sub(MS)).await;
            assert_eq!(count(&scene.counters, "connections"), 1);
            sleep_until(start + STALL + MS).await;
            assert_eq!(count(&scene.counters, "connections"), 0);
        });
        scene.ended_by("write_timeout");
    }
}

#[test]
fn a_peer_that_reads_slowly_gets_all() {
    let scene = Scene::new(&baidu());
    scene.play(async {
        let peer = scene.connect();
        let mut sent = 0;
        for _ in 0..2 {
            fill(&peer);
            sent += 7 * 8 * 1024;
            sleep(MS).await;
        }
        let mut received = 0;
        while received < sent {
            sleep(STALL.saturating_sub(SECOND)).await;
            received += peer.read().await.expect("too early").len();
        }
    });
    assert_eq!(scene.ended("disconnects_total"), []);
}

#[test]
fn those_that_hold_unfinished_frames_the_longest_make_room_for_others() {
    const MOST: usize = 100_000;
    let scene = Scene::with(&baidu(), |stage| stage.unfinished = MOST);
    scene.play(async {
        let part = |peer: &Peer, bytes: usize| {
            let frame = peer.frame(1, ECHO, &vec![7; 1_000_000]);
            peer.send(&frame[..bytes]);
        };
        let peers = [scene.connect(), scene.connect(), scene.connect()];
        for peer in &peers {
            part(peer, 30_000);
            sleep(SECOND).await;
        }
        // The oldest goes on, so that it is the youngest.
        peers[0].send(&[7; 10_000]);
        sleep(SECOND).await;
        assert_eq!(count(&scene.counters, "connections"), 3);
        // Exactly as much as may be, and one byte more.
        let last = scene.connect();
        last.send(&[7; 0]);
        sleep(MS).await;
        let frame = last.frame(1, ECHO, b"!");
        last.send(&frame[..1]);
        assert!(
            peers[1].ends_within(MS).await,
            "the one that waits the longest"
        );
        assert_eq!(count(&scene.counters, "connections"), 3);
        last.send(&frame[1..]);
        assert!(last.read().await.is_some(), "an honest one is served");
        // One alone may have what its protocol allows.
        drop(peers);
        sleep(SECOND).await;
        let alone = scene.connect();
        let frame = alone.frame(1, ECHO, &vec![7; 4 * MOST]);
        for piece in frame.chunks(ROOM / 2) {
            alone.send(piece);
            sleep(MS).await;
        }
        assert!(alone.read().await.is_some());
    });
    let kinds = scene.ended("rejected_total");
    assert_eq!(kinds, [("truncated", 2), ("unfinished_bytes", 1)]);
}

/// Leads a channel to a server.
#[derive(Debug)]
struct Way {
    server: Weak<Server>,
    handle: tokio::runtime::Handle,
    latency: Duration,
}

impl Dial for Way {
    fn dial(&self) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send + '_>> {
        Box::pin(async {
            let (near, far, ways) = pipe(ROOM, !self.latency.is_zero());
            let server = self.server.upgrade().unwrap();
            let far = Stream::Other(Box::new(far));
            server.welcome(&self.handle, far, "a caller".to_owned());
            for way in ways {
                let latency = self.latency;
                tokio::spawn(async move {
                    loop {
                        use simulation::Load;
                        let load = poll_fn(|context| way.poll_take(ROOM, context)).await;
                        sleep(latency).await;
                        match load {
                            Load::Bytes(bytes) => way.deliver(&bytes),
                            Load::End => return way.end(),
                            Load::Broken => return,
                        }
                    }
                });
            }
            Ok(Stream::Other(Box::new(near)))
        })
    }
}

impl Scene {
    fn channel(&self, latency: Duration) -> (Channel, Arc<Counters>) {
        let options = ChannelOptions {
            wait_for_ready: true,
            keep_connected: false,
            connect_timeout: SECOND,
            backoff_min: Duration::from_millis(5),
            backoff_max: Duration::from_millis(50),
            max_retry: 3,
            pooled: None,
        };
        let dial = Arc::new(Way {
            server: Arc::downgrade(&self.server),
            handle: self.stage.driver.handle().clone(),
            latency,
        });
        let counters = Arc::<Counters>::default();
        let session = Arc::<Desk>::default();
        let channel = self
            .stage
            .channel(dial, options, &self.codec, session, &counters);
        (channel, counters)
    }
}

async fn call(channel: &Channel) -> Ended {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let outbound = Outbound {
        method: method(ECHO),
        body: Payload::plain(Bytes::from_static(b"call")),
        extras: Extras::default(),
        deadline: Some(simulation::now() + Duration::from_secs(5)),
    };
    drop(channel.call(outbound, Waiter::new(move |end| drop(sender.send(end)))));
    receiver.await.unwrap()
}

/// A channel of ours over baidu_std is told before its idle connection is closed: whatever moment
/// its next call has, it is answered.
#[test]
fn a_call_of_our_channel_at_the_moment_of_the_close_is_answered() {
    for latency in [Duration::ZERO, 20 * MS] {
        let scene = Scene::with(&baidu(), |stage| stage.timeouts.idle = Some(8 * SECOND));
        scene.play(async {
            let (channel, counters) = scene.channel(latency);
            for offset in 0..160_u32 {
                // From before the first moment to after the last one.
                let pause = 7920 * MS + offset * 12 * MS;
                sleep(pause).await;
                let end = call(&channel).await;
                assert!(matches!(end, Ended::Answered(_)), "{offset}: {end:?}");
            }
            assert!(count(&counters, "connects_total") > 50);
            channel.close(SECOND).await;
            sleep(2 * SECOND).await;
        });
        let kinds: Vec<_> = scene
            .ended("disconnects_total")
            .iter()
            .map(|(kind, _)| *kind)
            .collect();
        assert_eq!(kinds, ["peer_closed", "idle_timeout"]);
    }
}

/// Where hundreds come at one moment, they are late at one moment, too.
#[test]
fn many_that_are_given_up_at_once_let_others_have_their_turn() {
    const STRANGERS: u64 = 300;
    let stage = Stage::new();
    let counters = Arc::<Counters>::default();
    let codecs = [baidu(), indexed(4, Reply::ById)];
    let server = stage.server(&codecs, Arc::<Desk>::default() as _, &counters);
    stage.play(async {
        let strangers = (0..STRANGERS).map(|_| {
            let (near, far, _) = pipe(ROOM, false);
            let far = Stream::Other(Box::new(far));
            server.welcome(stage.driver.handle(), far, "a stranger".to_owned());
            near
        });
        let _silent: Vec<End> = strangers.collect();
        sleep(10 * SECOND).await;
        let mut given_up = 0;
        let mut turns = 0;
        while given_up < STRANGERS {
            yield_now().await;
            let so_far = count(&counters, "rejected_total");
            assert!(so_far - given_up <= 16, "{given_up}, then {so_far}");
            given_up = so_far;
            turns += 1;
            assert!(turns < 10_000);
        }
    });
    assert_eq!(count(&counters, "connections"), 0);
}
