//! A panic in the core costs the connection that it happened on. It is counted, and all others are
//! served as before.
#![cfg(test)]

mod simulation;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use _core::call::{CloseKind, CloseReason, Ended, Event, Link, Outbound, Session, Turn, Waiter};
use _core::metrics::{Counters, Value};
use _core::net::Stream;
use _core::net::client::{Channel, ChannelOptions, Delivery, Dial};
use _core::net::server::Server;
use _core::status::Code;
use _core::wire::baidu_std::BaiduStdCodec;
use _core::wire::{
    Codec, EncodeError, Extras, Frame, Head, OutgoingCall, OutgoingReply, Payload, Reads, Sniff,
    Traits, WireError, limits,
};
use bytes::BytesMut;
use simulation::{Stage, count, method, now, pipe};
use tokio::runtime::Handle;
use tokio::time::sleep;

/// What makes things panic.
const BOOM: &[u8] = b"boom";

fn explode(bytes: &[u8]) {
    let found = bytes.windows(BOOM.len()).any(|four| four == BOOM);
    assert!(!found, "boom: a test panics here on purpose");
}

fn baidu() -> Arc<dyn Codec> {
    Arc::new(BaiduStdCodec::new(limits::MESSAGE_BYTES))
}

/// A codec that panics where it reads certain bytes.
#[derive(Debug)]
struct Fragile {
    codec: Arc<dyn Codec>,
    sniffs: bool,
}

impl Codec for Fragile {
    fn name(&self) -> &'static str {
        self.codec.name()
    }

    fn traits(&self) -> Traits {
        self.codec.traits()
    }

    fn limit(&self) -> u64 {
        self.codec.limit()
    }

    fn sniff(&self, bytes: &[u8]) -> Sniff {
        if self.sniffs {
            explode(bytes);
        }
        self.codec.sniff(bytes)
    }

    fn decode(&self, reads: Reads, buffer: &mut BytesMut) -> Result<Option<Frame>, WireError> {
        if !self.sniffs {
            explode(buffer);
        }
        self.codec.decode(reads, buffer)
    }

    fn call_head(&self, call: &OutgoingCall<'_>) -> Result<Head, EncodeError> {
        self.codec.call_head(call)
    }

    fn reply_head(&self, reply: &OutgoingReply<'_>) -> Result<Head, EncodeError> {
        self.codec.reply_head(reply)
    }
}

/// A session that panics at certain calls, or at once.
#[derive(Debug, Default)]
struct Clumsy {
    at_once: bool,
    /// It does not, after all.
    steady: bool,
}

impl Session for Clumsy {
    fn handle(&self, link: &Arc<dyn Link>, event: Event, _: &mut Turn<'_>) {
        match event {
            Event::Opened => assert!(!self.at_once, "boom: a test panics here on purpose"),
            Event::Credential(..) => {}
            Event::Call(call) => {
                if !self.steady {
                    explode(&call.body.bytes);
                }
                call.ticket.respond(&call.body, &Extras::NONE);
            }
            Event::Closed(_) => link.finish(CloseReason::new(CloseKind::Closed, "all is said")),
        }
    }
}

/// Leads to a server by a connection in memory.
#[derive(Debug)]
struct Lead(Weak<Server>, Handle);

impl Dial for Lead {
    fn dial(&self) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send + '_>> {
        let (near, far, _) = pipe(64 * 1024, false);
        let server = self.0.upgrade().unwrap();
        server.welcome(&self.1, Stream::Other(Box::new(far)), "caller".to_owned());
        Box::pin(async { Ok(Stream::Other(Box::new(near))) })
    }
}

/// A server, and channels to it.
struct Scene {
    stage: Stage,
    server: Arc<Server>,
    served: Arc<Counters>,
    called: Arc<Counters>,
}

impl Scene {
    fn new(codecs: &[Arc<dyn Codec>], session: Clumsy) -> Self {
        let (stage, served) = (Stage::new(), Arc::default());
        Self {
            server: stage.server(codecs, Arc::new(session), &served),
            called: Arc::default(),
            served,
            stage,
        }
    }

    fn channel(&self, codec: &Arc<dyn Codec>) -> Channel {
        let options = ChannelOptions {
            wait_for_ready: true,
            keep_connected: false,
            connect_timeout: Duration::from_secs(1),
            backoff_min: Duration::from_millis(5),
            backoff_max: Duration::from_millis(50),
            max_retry: 0,
            pooled: None,
        };
        let handle = self.stage.driver.handle().clone();
        let lead = Arc::new(Lead(Arc::downgrade(&self.server), handle));
        let nobody = Arc::new(Clumsy::default());
        self.stage
            .channel(lead, options, codec, nobody, &self.called)
    }

    /// Stops the server: nobody is left in it.
    async fn stop(&self) {
        let cut = self.server.stop(Duration::from_secs(2)).await;
        assert_eq!((cut.connections, cut.calls, cut.running), (0, 0, 0));
        assert_eq!(count(&self.served, "connections"), 0);
        assert_eq!(count(&self.served, "calls_in_flight"), 0);
    }
}

fn outbound(body: &[u8]) -> Outbound {
    Outbound {
        method: method(1),
        body: Payload::plain(body.to_vec().into()),
        extras: Extras::default(),
        deadline: Some(now() + Duration::from_secs(5)),
    }
}

fn call(channel_: &Channel, body: &[u8]) -> (Delivery, Receiver<Ended>) {
    let (told, heard) = channel();
    let waiter = Waiter::new(move |end| told.send(end).unwrap());
    (channel_.call(outbound(body), waiter), heard)
}

/// How the call ends, which it does once.
async fn end(channel_: &Channel, body: &[u8]) -> Result<Vec<u8>, Code> {
    let (_, heard) = call(channel_, body);
    sleep(Duration::from_secs(6)).await;
    let ends: Vec<_> = heard.iter().collect();
    match ends.as_slice() {
        [Ended::Answered(answer)] => Ok(answer.body.bytes.to_vec()),
        [Ended::Failed(status) | Ended::Denied(status, _)] => Err(status.code),
        ends => panic!("{ends:?}"),
    }
}

fn faults(counters: &Counters) -> u64 {
    let mut all = counters.snapshot().into_iter();
    let found = all.find(|(name, _)| *name == "disconnects_total");
    let Some((_, Value::Labelled(kinds))) = found else {
        panic!("no such counter")
    };
    let fault = kinds.iter().find(|(kind, _)| *kind == "fault");
    fault.map_or(0, |(_, count)| *count)
}

/// One caller makes a server panic, another one is served before and afterwards, and so is the
/// first one, over another connection.
fn survives(scene: &Scene, expected: Code) {
    let (good, bad) = (scene.channel(&baidu()), scene.channel(&baidu()));
    scene.stage.play(async {
        assert_eq!(end(&good, b"one").await, Ok(b"one".to_vec()));
        assert_eq!(end(&bad, BOOM).await, Err(expected));
        assert_eq!(end(&good, b"two").await, Ok(b"two".to_vec()));
        assert_eq!(end(&bad, b"three").await, Ok(b"three".to_vec()));
        assert_eq!(count(&scene.served, "connections"), 2);
        good.close(Duration::from_secs(1)).await;
        bad.close(Duration::from_secs(1)).await;
        scene.stop().await;
    });
    assert_eq!(faults(&scene.served), 1);
}

#[test]
fn a_panic_while_a_server_reads_costs_one_connection() {
    let codec: Arc<dyn Codec> = Arc::new(Fragile {
        codec: baidu(),
        sniffs: false,
    });
    let scene = Scene::new(&[codec], Clumsy::default());
    survives(&scene, Code::Unavailable);
    assert_eq!(count(&scene.served, "panics_total"), 1);
}

#[test]
fn a_panic_where_a_call_is_run_costs_its_connection() {
    let scene = Scene::new(&[baidu()], Clumsy::default());
    survives(&scene, Code::Internal);
    // Whoever brings the worker counts it.
    assert_eq!(scene.stage.panics(), 1);
}

#[test]
fn a_connection_whose_session_panics_at_once_is_not_left_open() {
    let at_once = Clumsy {
        at_once: true,
        ..Clumsy::default()
    };
    let scene = Scene::new(&[baidu()], at_once);
    let channel = scene.channel(&baidu());
    scene.stage.play(async {
        // Served or not: the call may have come by before the end did.
        drop(end(&channel, b"one").await);
        assert_eq!(count(&scene.served, "connections"), 0);
        channel.close(Duration::from_secs(1)).await;
        scene.stop().await;
    });
    assert!(faults(&scene.served) > 0);
}

#[test]
fn a_panic_over_first_bytes_is_counted_and_closes() {
    let codec: Arc<dyn Codec> = Arc::new(Fragile {
        codec: baidu(),
        sniffs: true,
    });
    let scene = Scene::new(&[Arc::clone(&codec), baidu()], Clumsy::default());
    let (good, bad) = (scene.channel(&baidu()), scene.channel(&baidu()));
    scene.stage.play(async {
        assert_eq!(end(&bad, BOOM).await, Err(Code::Unavailable));
        assert_eq!(end(&good, b"one").await, Ok(b"one".to_vec()));
        good.close(Duration::from_secs(1)).await;
        scene.stop().await;
    });
    assert_eq!(count(&scene.served, "panics_total"), 1);
}

#[test]
fn a_panic_while_a_channel_reads_ends_its_calls_and_not_the_channel() {
    let fragile: Arc<dyn Codec> = Arc::new(Fragile {
        codec: baidu(),
        sniffs: false,
    });
    let steady = Clumsy {
        steady: true,
        ..Clumsy::default()
    };
    let scene = Scene::new(&[baidu()], steady);
    let channel = scene.channel(&fragile);
    scene.stage.play(async {
        assert_eq!(end(&channel, b"one").await, Ok(b"one".to_vec()));
        let ends = [call(&channel, BOOM).1, call(&channel, b"two").1];
        sleep(Duration::from_secs(6)).await;
        assert_eq!(ends.map(|heard| heard.iter().count()), [1, 1]);
        assert_eq!(end(&channel, b"four").await, Ok(b"four".to_vec()));
        channel.close(Duration::from_secs(1)).await;
        scene.stop().await;
    });
    assert_eq!(count(&scene.called, "panics_total"), 1);
    assert_eq!(faults(&scene.called), 1);
}

#[test]
fn a_panic_of_whoever_is_told_costs_the_connection_and_no_other_end() {
    let scene = Scene::new(&[baidu()], Clumsy::default());
    let bad = scene.channel(&baidu());
    scene.stage.play(async {
        assert_eq!(end(&bad, b"one").await, Ok(b"one".to_vec()));
        let waiter = Waiter::new(|_| panic!("boom: a test panics here on purpose"));
        drop(bad.call(outbound(b"two"), waiter));
        let (_, heard) = call(&bad, b"three");
        sleep(Duration::from_secs(6)).await;
        assert_eq!(heard.iter().count(), 1);
        assert_eq!(end(&bad, b"four").await, Ok(b"four".to_vec()));
        assert_eq!(count(&scene.called, "connections"), 1);
        bad.close(Duration::from_secs(1)).await;
        scene.stop().await;
    });
    assert_eq!(count(&scene.called, "panics_total"), 1);
    assert_eq!(faults(&scene.called), 1);
}
