//! Calls through a line that delays, splits and breaks what goes over it: whoever waits is told
//! once, and no call is run twice.
#![cfg(test)]

mod support;

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use _core::net::address::Address;
use _core::net::client::{ChannelOptions, Target};
use _core::status::Code;
use _core::wire::Codec;
use fastrand::Rng;
use support::{
    Calls, ECHO, GRACE, Happened, House, Place, baidu, by_id, eventually, hulu, in_order, ms,
    outbound, padded, patient, sofa,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// A line between callers and a server.
struct Line {
    address: Address,
    broken: Arc<AtomicU64>,
}

/// Moves bytes one way; an error is a line that breaks.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut random: Rng) -> io::Result<()> {
    let mut buffer = [0; 300];
    loop {
        let most = random.usize(1..=buffer.len());
        let read = from.read(&mut buffer[..most]).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        let (first, second) = buffer[..read].split_at(random.usize(0..=read));
        to.write_all(first).await?;
        match random.u32(0..100) {
            0..3 => return Err(io::ErrorKind::BrokenPipe.into()),
            3..15 => sleep(ms(random.u64(0..4))).await,
            _ => {}
        }
        to.write_all(second).await?;
    }
}

impl Line {
    fn to(house: &House, server: &Address, seed: u64) -> Self {
        let server = server.to_string();
        let broken = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&broken);
        let listener = house
            .runtime()
            .run(async { TcpListener::bind("127.0.0.1:0").await.unwrap() })
            .unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        house.runtime().handle().spawn(async move {
            let mut random = Rng::with_seed(seed);
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&server).await.unwrap();
                let (there, back) = (random.fork(), random.fork());
                let count = Arc::clone(&count);
                tokio::spawn(async move {
                    let ((near_in, near_out), (far_in, far_out)) =
                        (near.into_split(), far.into_split());
                    let ways = tokio::try_join!(
                        carry(near_in, far_out, there),
                        carry(far_in, near_out, back)
                    );
                    if ways.is_err() {
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        Self { address, broken }
    }
}

/// The number and something behind it, of any length.
fn body(number: u32) -> Vec<u8> {
    padded(number, number as usize * 7919 % 400)
}

/// Calls through a bad line to a server that answers; then all is held against what the server
/// ran.
fn play(codec: &Arc<dyn Codec>, options: &ChannelOptions, seed: u64) {
    const CALLS: u32 = 400;
    let (place, house, between) = (Place::new(codec), House::new(), House::new());
    let line = Line::to(&between, &place.address, seed);
    let target = Target::Address(line.address.clone());
    let channel = house.caller(target, options.clone(), codec, b"");
    let calls = Calls::new();
    let mut random = Rng::with_seed(seed);
    let mut deliveries = Vec::new();
    for number in 0..CALLS {
        let limit = match random.u32(0..10) {
            0 => ms(random.u64(1..10)),
            _ => GRACE,
        };
        let call = outbound(u32::from(ECHO), body(number), Some(limit));
        deliveries.push(calls.make(&channel, number, call));
        if random.u32(0..12) == 0 {
            random.choice(&deliveries).unwrap().cancel();
        }
        if random.u32(0..10) == 0 {
            thread::sleep(ms(random.u64(0..8)));
        }
    }
    // What is still under way is the close's to end.
    thread::sleep(ms(100));
    house.close(&channel, ms(300));
    let told = calls.rest();
    assert!(
        told.iter().map(|(number, _)| *number).eq(0..CALLS),
        "each is told once"
    );
    let mut answered = HashSet::new();
    for (number, outcome) in told {
        match outcome {
            Ok(answer) => {
                assert_eq!(answer.body.bytes, body(number));
                answered.insert(body(number));
            }
            Err(status) => {
                let expected = [
                    Code::Unavailable,
                    Code::DeadlineExceeded,
                    Code::Cancelled,
                    Code::ResourceExhausted,
                ];
                assert!(expected.contains(&status.code), "{status}");
            }
        }
    }
    assert!(!answered.is_empty());
    assert!(
        line.broken.load(Ordering::SeqCst) > 3,
        "the line never broke"
    );
    for side in [&house, &place.house] {
        eventually("the end", || side.count("connections") == 0);
        eventually("the last call", || side.count("calls_in_flight") == 0);
    }
    let ran: Vec<Vec<u8>> = place
        .desk
        .happened()
        .into_iter()
        .filter_map(|happened| match happened {
            Happened::Ran(_, body) => Some(body),
            _ => None,
        })
        .collect();
    let distinct: HashSet<_> = ran.iter().cloned().collect();
    assert_eq!(distinct.len(), ran.len(), "a call was run twice");
    assert!(answered.is_subset(&distinct));
}

#[test]
fn a_bad_line_is_survived_on_every_protocol() {
    for (seed, codec) in (1..).zip([baidu(), hulu(), sofa(), by_id(), in_order(0), in_order(4)]) {
        play(&codec, &patient(), seed);
    }
}

#[test]
fn a_bad_line_is_survived_by_a_pool() {
    let options = ChannelOptions {
        pooled: Some(400),
        ..patient()
    };
    play(&baidu(), &options, 99);
}

#[test]
fn a_bad_line_is_survived_by_calls_that_are_not_to_wait() {
    let options = ChannelOptions {
        wait_for_ready: false,
        ..patient()
    };
    for seed in 20..23 {
        play(&baidu(), &options, seed);
    }
}
