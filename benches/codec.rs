//! What the codecs cost: a frame to bytes, and bytes to a frame.

use std::hint::black_box;

use _core::wire::baidu_std::BaiduStdCodec;
use _core::wire::indexed::{IndexedCodec, Layout, Reply};
use _core::wire::{Body, Codec, Extras, MethodName, OutgoingCall, OutgoingReply, Reads};
use bytes::BytesMut;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const LIMIT: u64 = 4 << 20;
/// Frames that one read brings.
const FRAMES: u64 = 64;

fn codecs() -> [(&'static str, Box<dyn Codec>); 2] {
    let layout = Layout {
        id_width: 4,
        reply: Reply::ById,
        ..Layout::default()
    };
    [
        ("indexed", Box::new(IndexedCodec::new(layout))),
        ("baidu_std", Box::new(BaiduStdCodec::new(LIMIT))),
    ]
}

fn codec(criterion: &mut Criterion) {
    let method = MethodName {
        service: "game.GameService".to_owned(),
        method: "connect_server".to_owned(),
        index: 1,
    };
    for (name, codec) in codecs() {
        for size in [16, 1024] {
            let bytes = vec![7; size];
            let body = Body {
                bytes: &bytes,
                ..Body::default()
            };
            let extras = Extras::NONE;
            let mut group = criterion.benchmark_group(format!("{name}, {size} B"));
            let reply = OutgoingReply {
                id: Some(77),
                outcome: Ok(body),
                extras: &extras,
            };
            group.bench_function("head of an answer", |bencher| {
                bencher.iter(|| codec.reply_head(black_box(&reply)));
            });
            let call = OutgoingCall {
                method: &method,
                id: Some(77),
                timeout: None,
                body,
                extras: &extras,
            };
            group.bench_function("head of a call", |bencher| {
                bencher.iter(|| codec.call_head(black_box(&call)));
            });
            let head = codec.call_head(&call).expect("a call that can be sent");
            let mut frames = BytesMut::new();
            for _ in 0..FRAMES {
                frames.extend_from_slice(head.as_slice());
                frames.extend_from_slice(&bytes);
            }
            group.throughput(Throughput::Elements(FRAMES));
            group.bench_function("calls of one read", |bencher| {
                bencher.iter_batched_ref(
                    || frames.clone(),
                    |buffer| {
                        while let Ok(Some(frame)) = codec.decode(Reads::Calls, buffer) {
                            black_box(frame);
                        }
                    },
                    BatchSize::SmallInput,
                );
            });
            group.finish();
        }
    }
}

criterion_group!(benches, codec);
criterion_main!(benches);
