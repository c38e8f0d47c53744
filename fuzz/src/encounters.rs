//! A stranger at one end of a whole connection, ours at the other.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use _core::call::{Outbound, Waiter};
use _core::metrics::Counters;
use _core::net::client::ChannelOptions;
use _core::wire::{Body, Codec, Extras, Frame, OutgoingCall, Payload, Reads};
use bytes::{Bytes, BytesMut};
use tokio::time::{sleep, timeout};

use crate::byte;
use crate::peers::{Desk, PATIENCE, Stranger, ToStranger, protocols};
use crate::simulation::{Stage, count, method, now};

/// Calls that a channel has under way when the stranger begins to speak.
const CALLS: usize = 4;

/// Feeds a server with what a stranger sends: its connection ends, nothing of it is left, and who
/// is honest is served before, meanwhile and afterwards.
pub fn server(mut data: &[u8]) {
    let choice = byte(&mut data);
    let codecs = protocols(choice);
    let (reads, piece) = (choice & 4 == 0, usize::from(choice >> 3) * 7);
    let piece = if piece == 0 { data.len() } else { piece };
    let (stage, counters) = (Stage::new(), Arc::<Counters>::default());
    let server = stage.server(&codecs, Arc::new(Desk), &counters);
    let handle = stage.driver.handle().clone();
    let welcome = |name: &str| {
        let (stranger, stream) = Stranger::pair();
        server.welcome(&handle, stream, name.to_owned());
        stranger
    };
    stage.play(async {
        let honest = welcome("honest");
        be_served(&honest, &codecs[0], 1).await;
        let stranger = Arc::new(welcome("stranger"));
        let listener = Arc::clone(&stranger);
        let listening = tokio::spawn(async move {
            if !reads {
                sleep(Duration::from_secs(1)).await;
            }
            listener.drain().await
        });
        stranger.send(data, piece).await;
        be_served(&honest, &codecs[0], 2).await;
        stranger.end();
        let said = timeout(PATIENCE, listening).await;
        let said = said.expect("the connection never ends").expect("no panic");
        assert!(
            said <= 64 * 1024 + 64 * data.len(),
            "{said} bytes were said"
        );
        drop(stranger);
        be_served(&honest, &codecs[0], 3).await;
        // The last handlers of the stranger's calls.
        sleep(Duration::from_secs(2)).await;
        assert_eq!(count(&counters, "connections"), 1);
        assert_eq!(count(&counters, "calls_in_flight"), 0);
        honest.end();
        let cut = server.stop(Duration::from_secs(5)).await;
        assert_eq!((cut.connections, cut.calls, cut.running), (0, 0, 0));
    });
    assert_eq!(count(&counters, "panics_total"), 0);
    stage.processor.stop();
}

/// Makes one call over a bare connection.
async fn be_served(peer: &Stranger, codec: &Arc<dyn Codec>, id: u64) {
    let traits = codec.traits();
    let name = method(1);
    let body = Payload::plain(Bytes::from_static(b"hello"));
    let extras = Extras::default();
    let call = OutgoingCall {
        method: &name,
        id: (traits.largest_id > 0).then_some(id),
        timeout: None,
        body: Body::from(&body),
        extras: &extras,
    };
    let head = codec.call_head(&call).expect("a call that can be sent");
    let frame = [head.as_slice(), &body.bytes].concat();
    peer.send(&frame, frame.len()).await;
    if traits.answers == _core::wire::Answers::Never {
        return;
    }
    let mut buffer = BytesMut::new();
    let answer = async {
        loop {
            let frame = codec.decode(Reads::Replies, &mut buffer);
            if let Some(frame) = frame.expect("an honest server") {
                return frame;
            }
            assert!(peer.read(&mut buffer).await, "the honest one was cut off");
        }
    };
    let answer = timeout(PATIENCE, answer).await.expect("an answer");
    let Frame::Reply(reply) = answer else {
        panic!("{answer:?} is no answer")
    };
    assert_eq!(reply.outcome.expect("no failure"), body);
}

/// Feeds a channel with what a stranger answers: each of its calls ends once.
pub fn channel(mut data: &[u8]) {
    let choice = byte(&mut data);
    let codecs = protocols(choice);
    let codec = &codecs[usize::from(choice >> 2) % codecs.len()];
    let piece = usize::from(choice >> 4) * 7;
    let piece = if piece == 0 { data.len() } else { piece };
    let (stage, counters) = (Stage::new(), Arc::<Counters>::default());
    let (stranger, stream) = Stranger::pair();
    let options = ChannelOptions {
        wait_for_ready: true,
        keep_connected: false,
        connect_timeout: Duration::from_secs(1),
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_millis(50),
        max_retry: 3,
        pooled: None,
    };
    let dial = Arc::new(ToStranger(Mutex::new(Some(stream))));
    let channel = stage.channel(dial, options, codec, Arc::new(Desk), &counters);
    let told: Arc<[AtomicU32; CALLS]> = Arc::default();
    stage.play(async {
        for call in 0..CALLS {
            let told = Arc::clone(&told);
            let waiter = Waiter::new(move |_| {
                told[call].fetch_add(1, Ordering::SeqCst);
            });
            let outbound = Outbound {
                method: method(call),
                body: Payload::default(),
                extras: Extras::default(),
                deadline: Some(now() + Duration::from_secs(5)),
            };
            drop(channel.call(outbound, waiter));
        }
        let mut heard = BytesMut::new();
        assert!(stranger.read(&mut heard).await, "nothing was called");
        stranger.send(data, piece).await;
        stranger.end();
        timeout(PATIENCE, stranger.drain()).await.expect("an end");
        channel.close(Duration::from_secs(1)).await;
        sleep(Duration::from_secs(10)).await;
    });
    let told: Vec<_> = told
        .iter()
        .map(|told| told.load(Ordering::SeqCst))
        .collect();
    assert_eq!(told, [1; CALLS], "calls that ended so often");
    assert_eq!(count(&counters, "connections"), 0);
    assert_eq!(count(&counters, "panics_total"), 0);
    stage.processor.stop();
}
