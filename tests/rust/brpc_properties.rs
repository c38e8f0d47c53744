//! What holds for every call, every answer, every split and every garbage of brpc's protocols, and
//! for every compressed message.
#![cfg(test)]

mod streams;

use std::sync::Arc;
use std::time::Duration;

use _core::status::{Code, Status};
use _core::wire::baidu_std::{BaiduStdCodec, errno};
use _core::wire::compress::{ANY_RATIO_BYTES, CompressError, Compression, RATIO, deflate, inflate};
use _core::wire::hulu::HuluCodec;
use _core::wire::sofa::SofaCodec;
use _core::wire::{
    Body, CallFrame, Checksum, Codec, EncodeError, Extras, Frame, Head, MethodName, OutgoingCall,
    OutgoingReply, Parts, Payload, Reads, ReplyFrame, Target, Trace, WireError, limits,
};
use bytes::{Bytes, BytesMut};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::{Index, select};

const LIMIT: u64 = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    BaiduStd,
    Hulu,
    Sofa,
}

use Protocol::{BaiduStd, Hulu, Sofa};

use streams::pieces;

impl Protocol {
    fn codec(self, limit: u64) -> Arc<dyn Codec> {
        match self {
            BaiduStd => Arc::new(BaiduStdCodec::new(limit)),
            Hulu => Arc::new(HuluCodec::new(limit)),
            Sofa => Arc::new(SofaCodec::new(limit)),
        }
    }

    fn magic(self) -> [u8; 4] {
        *match self {
            BaiduStd => b"PRPC",
            Hulu => b"HULU",
            Sofa => b"SOFA",
        }
    }

    /// Bytes before the meta.
    fn header(self) -> usize {
        if self == Sofa { 24 } else { 12 }
    }

    /// What is left of `parts` when this protocol carries all it can.
    fn fit(self, parts: Parts) -> Parts {
        match self {
            BaiduStd => parts,
            Hulu => Parts {
                metadata: Vec::new(),
                checksum: Checksum::None,
                trace: Trace {
                    request_id: None,
                    ..parts.trace
                },
                ..parts
            },
            Sofa => Parts::default(),
        }
    }
}

/// A frame to be sent.
#[derive(Debug, Clone)]
enum Sent {
    Call {
        method: MethodName,
        id: u64,
        timeout: Option<Duration>,
        body: Payload,
        parts: Parts,
    },
    Reply {
        id: u64,
        outcome: Result<Payload, Status>,
        parts: Parts,
    },
}

impl Sent {
    fn parts(&self) -> &Parts {
        match self {
            Self::Call { parts, .. } | Self::Reply { parts, .. } => parts,
        }
    }

    /// The same with nothing that `protocol` does not carry.
    fn fit(mut self, protocol: Protocol) -> Self {
        let (Self::Call { parts, .. } | Self::Reply { parts, .. }) = &mut self;
        *parts = protocol.fit(parts.clone());
        self
    }

    fn reads(&self) -> Reads {
        match self {
            Self::Call { .. } => Reads::Calls,
            Self::Reply { .. } => Reads::Replies,
        }
    }

    fn bytes(&self, codec: &dyn Codec) -> Result<Vec<u8>, EncodeError> {
        let extras = Extras::from(self.parts().clone());
        let (head, body, attachment) = match self {
            Self::Call {
                method,
                id,
                timeout,
                body,
                ..
            } => {
                let head = codec.call_head(&OutgoingCall {
                    method,
                    id: Some(*id),
                    timeout: *timeout,
                    body: Body::from(body),
                    extras: &extras,
                });
                (head, body.bytes.clone(), extras.attachment())
            }
            Self::Reply { id, outcome, .. } => {
                let head = codec.reply_head(&OutgoingReply {
                    id: Some(*id),
                    outcome: outcome.as_ref().map(Body::from),
                    extras: &extras,
                });
                match outcome {
                    Ok(body) => (head, body.bytes.clone(), extras.attachment()),
                    Err(_) => (head, Bytes::new(), &[][..]),
                }
            }
        };
        Ok([head?.as_slice(), &body, attachment].concat())
    }

    /// What comes out at the other end.
    fn frame(&self, protocol: Protocol) -> Frame {
        match self.clone() {
            Self::Call {
                method,
                id,
                timeout,
                body,
                parts,
            } => {
                let bare = method.service.rsplit('.').next().unwrap_or_default();
                let target = if protocol == Hulu {
                    Target::Place {
                        service: bare.to_owned().into(),
                        index: i32::try_from(method.index).unwrap(),
                    }
                } else {
                    Target::Name {
                        service: method.service.as_bytes().into(),
                        method: method.method.as_bytes().into(),
                    }
                };
                Frame::Call(CallFrame {
                    target,
                    id: Some(id),
                    timeout: timeout.filter(|_| protocol == BaiduStd),
                    body: Ok(body),
                    extras: parts.into(),
                })
            }
            Self::Reply { id, outcome, parts } => {
                let parts = match &outcome {
                    Ok(_) => Parts {
                        trace: Trace::default(),
                        credential: Bytes::new(),
                        ..parts
                    },
                    Err(_) => Parts {
                        metadata: parts.metadata,
                        ..Parts::default()
                    },
                };
                let outcome = outcome.map_err(|status| {
                    let native = errno::native_of(&status);
                    Status::new(errno::code_of(native), status.text).with_native(native)
                });
                Frame::Reply(ReplyFrame {
                    id: Some(id),
                    outcome,
                    extras: parts.into(),
                })
            }
        }
    }
}

fn protocols() -> impl Strategy<Value = Protocol> {
    select(vec![BaiduStd, Hulu, Sofa])
}

fn some_bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn payloads() -> impl Strategy<Value = Payload> {
    (some_bytes(), select(Compression::ALL.to_vec()))
        .prop_map(|(bytes, compression)| Payload { bytes, compression })
}

fn all_parts() -> impl Strategy<Value = Parts> {
    let ids = (
        of(any::<i64>()),
        of(any::<i64>()),
        of(any::<i64>()),
        of(any::<i64>()),
    );
    let trace = (ids, of(".{0,8}")).prop_map(|(ids, request_id)| Trace {
        log_id: ids.0,
        trace_id: ids.1,
        span_id: ids.2,
        parent_span_id: ids.3,
        request_id,
    });
    let checksums = vec![
        Checksum::None,
        Checksum::Message,
        Checksum::MessageAndAttachment,
    ];
    let metadata = btree_map(".{0,6}", ".{0,6}", 0..4);
    (
        some_bytes(),
        metadata,
        trace,
        some_bytes(),
        select(checksums),
    )
        .prop_map(|drawn| Parts {
            attachment: drawn.0,
            metadata: drawn.1.into_iter().collect(),
            trace: drawn.2,
            credential: drawn.3,
            checksum: drawn.4,
        })
}

fn parts() -> impl Strategy<Value = Parts> {
    prop_oneof![Just(Parts::default()), all_parts()]
}

fn calls() -> impl Strategy<Value = Sent> {
    let method = (".{0,20}", "[^.]{0,10}", 0u32..1 << 31);
    let timeout = of((1..i32::MAX as u64).prop_map(Duration::from_millis));
    (method, any::<u64>(), timeout, payloads(), parts()).prop_map(|drawn| {
        let (service, method, index) = drawn.0;
        Sent::Call {
            method: MethodName {
                service,
                method,
                index,
            },
            id: drawn.1,
            timeout: drawn.2,
            body: drawn.3,
            parts: drawn.4,
        }
    })
}

fn failures() -> impl Strategy<Value = Status> {
    let native = of(any::<i32>().prop_filter("0 is a success", |&native| native != 0));
    (select(Code::ALL.to_vec()), ".{0,20}", native).prop_map(|drawn| Status {
        code: drawn.0,
        text: drawn.1,
        native: drawn.2,
    })
}

fn replies() -> impl Strategy<Value = Sent> {
    let outcome = prop_oneof![payloads().prop_map(Ok), failures().prop_map(Err)];
    (any::<u64>(), outcome, parts()).prop_map(|(id, outcome, parts)| Sent::Reply {
        id,
        outcome,
        parts,
    })
}

fn frames() -> impl Strategy<Value = Sent> {
    prop_oneof![calls(), replies()]
}

fn all_reads() -> impl Strategy<Value = Reads> {
    select(vec![Reads::Calls, Reads::Replies, Reads::Both])
}

/// Feeds `stream`, cut at `cuts`.
fn receive(
    codec: &dyn Codec,
    reads: Reads,
    stream: &[u8],
    cuts: &[Index],
) -> (Vec<Frame>, Option<WireError>) {
    let decode = |buffer: &mut BytesMut| codec.decode(reads, buffer);
    streams::receive(decode, pieces(stream, cuts))
}

/// A stream that begins as frames do, with sizes that can come, and a meta of small numbers.
fn garbage(protocol: Protocol) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => 0u8..24, 2 => any::<u8>(), 1 => Just(0u8)];
    (any::<bool>(), 0u8..60, 0u8..60, vec(byte, 0..160)).prop_map(move |drawn| {
        let (headed, one, two, mut rest) = drawn;
        if headed {
            let [word, long] = [u32::from(one).to_le_bytes(), u32::from(two).to_le_bytes()];
            let sizes = match protocol {
                BaiduStd => [0, 0, 0, one, 0, 0, 0, two].to_vec(),
                Hulu => [word, long].concat(),
                Sofa => [word, long, [0; 4], [one + two, 0, 0, 0], [0; 4]].concat(),
            };
            rest.splice(..0, [&protocol.magic()[..], &sizes].concat());
        }
        rest
    })
}

fn streams() -> impl Strategy<Value = (Protocol, Vec<u8>)> {
    protocols().prop_flat_map(|protocol| (Just(protocol), garbage(protocol)))
}

fn cuts() -> impl Strategy<Value = Vec<Index>> {
    vec(any::<Index>(), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_frame_is_understood_as_it_was_meant(protocol in protocols(), sent in frames()) {
        let (codec, sent) = (protocol.codec(LIMIT), sent.fit(protocol));
        let stream = sent.bytes(&*codec).unwrap();
        let expected = (vec![sent.frame(protocol)], None);
        prop_assert_eq!(receive(&*codec, sent.reads(), &stream, &[]), expected.clone());
        if codec.traits().both_ways {
            prop_assert_eq!(receive(&*codec, Reads::Both, &stream, &[]), expected);
        }
    }

    #[test]
    fn any_split_of_any_frames_gives_the_same_frames(
        protocol in protocols(),
        calls in vec(calls(), 0..6),
        cuts in cuts(),
    ) {
        let codec = protocol.codec(LIMIT);
        let calls: Vec<Sent> = calls.into_iter().map(|call| call.fit(protocol)).collect();
        let stream: Vec<u8> = calls.iter().flat_map(|call| call.bytes(&*codec).unwrap()).collect();
        let expected: Vec<Frame> = calls.iter().map(|call| call.frame(protocol)).collect();
        prop_assert_eq!(receive(&*codec, Reads::Calls, &stream, &cuts), (expected, None));
    }

    #[test]
    fn a_part_of_a_frame_needs_more(protocol in protocols(), sent in frames(), reads in all_reads()) {
        let codec = protocol.codec(LIMIT);
        let stream = sent.fit(protocol).bytes(&*codec).unwrap();
        for length in 0..stream.len() {
            let mut buffer = BytesMut::from(&stream[..length]);
            prop_assert_eq!(codec.decode(reads, &mut buffer), Ok(None));
            prop_assert_eq!(&buffer[..], &stream[..length]);
        }
    }

    #[test]
    fn garbage_gives_frames_or_one_error(
        (protocol, stream) in streams(),
        reads in all_reads(),
        cuts in cuts(),
    ) {
        let codec = protocol.codec(LIMIT);
        let (frames, error) = receive(&*codec, reads, &stream, &[]);
        let again = receive(&*codec, reads, &stream, &cuts);
        prop_assert_eq!(again.0, frames);
        prop_assert_eq!(again.1.map(|error| error.reason()), error.map(|error| error.reason()));
    }

    #[test]
    fn a_flipped_bit_gives_an_error_a_fault_or_a_frame(
        protocol in protocols(),
        sent in frames(),
        flips in vec(any::<Index>(), 1..4),
        reads in all_reads(),
    ) {
        let codec = protocol.codec(LIMIT);
        let mut stream = sent.fit(protocol).bytes(&*codec).unwrap();
        for flip in flips {
            let bit = flip.index(stream.len() * 8);
            stream[bit / 8] ^= 1 << (bit % 8);
        }
        receive(&*codec, reads, &stream, &[]);
    }

    #[test]
    fn a_flipped_bit_of_a_protected_message_does_not_go_unseen(
        sent in frames(),
        flip in any::<Index>(),
    ) {
        let codec = BaiduStd.codec(LIMIT);
        let (bytes, body, parts) = match &sent {
            Sent::Call { body, parts, .. } => (sent.bytes(&*codec).unwrap(), body, parts),
            Sent::Reply { outcome: Ok(body), parts, .. } => {
                (sent.bytes(&*codec).unwrap(), body, parts)
            }
            Sent::Reply { .. } => return Ok(()),
        };
        let unprotected = match parts.checksum {
            Checksum::None => return Ok(()),
            Checksum::Message => parts.attachment.len(),
            Checksum::MessageAndAttachment => 0,
        };
        let end = bytes.len() - unprotected;
        let start = bytes.len() - parts.attachment.len() - body.bytes.len();
        prop_assume!(end > start);
        let bit = start * 8 + flip.index((end - start) * 8);
        let mut stream = bytes;
        stream[bit / 8] ^= 1 << (bit % 8);
        let (frames, _) = receive(&*codec, sent.reads(), &stream, &[]);
        match &frames[0] {
            Frame::Call(call) => prop_assert!(call.body.is_err()),
            Frame::Reply(reply) => prop_assert!(reply.outcome.is_err()),
        }
    }

    #[test]
    fn a_frame_may_be_as_large_as_the_limit(protocol in protocols(), sent in frames()) {
        let sent = sent.fit(protocol);
        let stream = sent.bytes(&*protocol.codec(LIMIT)).unwrap();
        let size = (stream.len() - protocol.header()) as u64;
        for limit in [size, size + 1] {
            let codec = protocol.codec(limit);
            prop_assert_eq!(sent.bytes(&*codec), Ok(stream.clone()));
            prop_assert_eq!(receive(&*codec, sent.reads(), &stream, &[]).1, None);
        }
        let (codec, limit) = (protocol.codec(size - 1), size - 1);
        let refused = matches!(
            sent.bytes(&*codec),
            Err(EncodeError::Body { announced, limit: named, .. })
                if announced == size && named == limit
        );
        prop_assert!(refused);
        let (frames, error) = receive(&*codec, sent.reads(), &stream[..protocol.header()], &[]);
        prop_assert_eq!(frames.len(), 0);
        prop_assert_eq!(error, Some(WireError::LengthAboveLimit { announced: size, limit }));
    }

    #[test]
    fn what_a_protocol_does_not_carry_is_refused(
        protocol in select(vec![Hulu, Sofa]),
        sent in frames(),
    ) {
        // A credential is for the first call of a connection, and its own matter.
        let parts = Parts { credential: Bytes::new(), ..sent.parts().clone() };
        let refused = protocol.fit(parts.clone()) != parts;
        let outcome = sent.bytes(&*protocol.codec(LIMIT));
        let matches = matches!(outcome, Err(EncodeError::Extra { .. }));
        prop_assert_eq!(matches, refused);
        prop_assert_eq!(outcome.is_ok(), !refused);
    }

    #[test]
    fn a_failure_is_followed_by_nothing_and_says_so(
        protocol in protocols(),
        id in any::<u64>(),
        status in failures(),
        parts in all_parts(),
    ) {
        let codec = protocol.codec(LIMIT);
        let parts = protocol.fit(parts);
        let bare = Parts { metadata: parts.metadata.clone(), ..Parts::default() };
        let sent = |parts| Sent::Reply { id, outcome: Err(status.clone()), parts };
        prop_assert_eq!(sent(parts).bytes(&*codec), sent(bare).bytes(&*codec));
    }

    #[test]
    fn any_message_survives_any_compression(
        kind in select(Compression::ALL.to_vec()),
        words in vec(vec(any::<u8>(), 0..9), 0..40),
        drawn in vec(any::<Index>(), 0..2_000),
    ) {
        prop_assume!(!words.is_empty());
        let message: Bytes = drawn.iter().flat_map(|word| word.get(&words).clone()).collect();
        let bytes = deflate(kind, &message).unwrap();
        prop_assert_eq!(inflate(kind, &bytes, message.len()), Ok(message.clone()));
        if let Some(limit) = message.len().checked_sub(1) {
            prop_assert_eq!(inflate(kind, &bytes, limit), Err(CompressError::TooLarge { limit }));
        }
    }

    #[test]
    fn any_bytes_inflate_within_bounds_or_not_at_all(
        kind in select(vec![Compression::Snappy, Compression::Gzip, Compression::Zlib]),
        start in select(vec![&b""[..], b"\x1f\x8b\x08\0\0\0\0\0\0\x03", b"\x78\x9c", b"\x80\x80\x04"]),
        rest in vec(any::<u8>(), 0..200),
        limit in 0usize..100_000,
    ) {
        let bytes = Bytes::from([start, &rest].concat());
        if let Ok(message) = inflate(kind, &bytes, limit) {
            prop_assert!(message.len() <= limit);
            prop_assert!(message.len() <= ANY_RATIO_BYTES.max(bytes.len() * RATIO));
        }
    }

    #[test]
    fn a_bomb_is_refused_by_its_limit_or_its_ratio(
        kind in select(vec![Compression::Gzip, Compression::Zlib]),
        byte in any::<u8>(),
        size in 200_000usize..3_000_000,
        limit in 0usize..300_000,
    ) {
        let bomb = deflate(kind, &Bytes::from(vec![byte; size])).unwrap();
        let allowed = ANY_RATIO_BYTES.max(bomb.len() * RATIO);
        prop_assert!(allowed < size);
        let expected = if limit <= allowed {
            CompressError::TooLarge { limit }
        } else {
            CompressError::Ratio { compressed: bomb.len(), allowed }
        };
        prop_assert_eq!(inflate(kind, &bomb, limit), Err(expected));
    }
}

#[test]
fn a_meta_above_its_limit_is_neither_sent_nor_taken() {
    let codec = BaiduStd.codec(limits::MESSAGE_BYTES);
    let sent = |size: usize| Sent::Reply {
        id: 1,
        outcome: Err(Status::new(Code::Internal, "x".repeat(size)).with_native(7)),
        parts: Parts::default(),
    };
    let beside = sent(0).bytes(&*codec).unwrap().len() - 12;
    let most = usize::try_from(limits::META_BYTES).unwrap();
    // The text and the message around it each have a tag and a length of three bytes then.
    let largest = most - beside - 4 - 2;
    let stream = sent(largest).bytes(&*codec).unwrap();
    assert_eq!(stream.len() - 12, most);
    assert_eq!(receive(&*codec, Reads::Replies, &stream, &[]).1, None);
    let error = sent(largest + 1).bytes(&*codec).unwrap_err();
    let (meta, limit) = (limits::META_BYTES + 1, limits::META_BYTES);
    assert_eq!(error, EncodeError::Meta { meta, limit });

    let announced = limits::META_BYTES + 1;
    let size = u32::try_from(announced).unwrap();
    let header = [&b"PRPC"[..], &size.to_be_bytes(), &size.to_be_bytes()].concat();
    let (_, error) = receive(&*codec, Reads::Replies, &header, &[]);
    assert_eq!(
        error,
        Some(WireError::LengthAboveLimit { announced, limit })
    );
}

/// A call of the method at `index`, with an id or without.
fn head_of(protocol: Protocol, index: u32, id: Option<u64>) -> Result<Head, EncodeError> {
    let method = MethodName {
        service: "game.GameService".to_owned(),
        method: "connect_server".to_owned(),
        index,
    };
    protocol.codec(LIMIT).call_head(&OutgoingCall {
        method: &method,
        id,
        timeout: None,
        body: Body::default(),
        extras: &Extras::default(),
    })
}

#[test]
fn a_call_or_an_answer_without_an_id_is_not_sent() {
    for protocol in [BaiduStd, Hulu, Sofa] {
        assert_eq!(head_of(protocol, 0, None), Err(EncodeError::IdMissing));
        let failed = Status::new(Code::Internal, "");
        for outcome in [Ok(Body::default()), Err(&failed)] {
            let reply = OutgoingReply {
                id: None,
                outcome,
                extras: &Extras::default(),
            };
            let head = protocol.codec(LIMIT).reply_head(&reply);
            assert_eq!(head, Err(EncodeError::IdMissing));
        }
    }
}

#[test]
fn only_hulu_pbrpc_carries_the_index_of_a_method_and_only_a_signed_one() {
    let (index, largest) = (1 << 31, i32::MAX as u64);
    let refused = EncodeError::Index { index, largest };
    assert_eq!(head_of(Hulu, index, Some(1)), Err(refused));
    assert!(head_of(Hulu, index - 1, Some(1)).is_ok());
    for protocol in [BaiduStd, Sofa] {
        assert!(head_of(protocol, u32::MAX, Some(1)).is_ok());
    }
}
