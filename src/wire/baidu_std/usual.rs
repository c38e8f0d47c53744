//! The metas that most frames have, read and written without making a message of them.
//!
//! A call that says its names, its id and perhaps its time and a number for logs, and an answer that
//! says its id and nothing else, are nine of ten frames. Whatever says more goes the long way, as
//! does everything that is not plain: a field twice, a number in too many bytes. A test holds both
//! ways to the same frames.

use bytes::{BufMut as _, Bytes};
use prost::encoding::encode_varint;
use smallvec::SmallVec;

use crate::wire::baidu_std::incoming::timeout;
use crate::wire::compress::Compression;
use crate::wire::{
    CallFrame, Extras, Frame, Name, OutgoingReply, Payload, Reads, ReplyFrame, Target,
};

/// Bytes of a usual meta of an answer, at most.
const META_BYTES: usize = 24;

const VARINT: u64 = 0;
const BYTES: u64 = 2;
/// The most bytes of a varint.
const VARINT_BYTES: u32 = 10;

/// What a usual meta is about.
enum About<'a> {
    Call {
        service: &'a [u8],
        method: &'a [u8],
        log_id: Option<i64>,
        timeout_ms: Option<i32>,
    },
    /// An answer that reports a success.
    Answer,
}

/// A usual meta.
pub(super) struct Usual<'a> {
    about: About<'a>,
    id: u64,
}

/// The fields of a message, from its bytes; `None` for what is not plain.
struct Fields<'a> {
    bytes: &'a [u8],
    /// Numbers of the fields so far, a bit each.
    seen: u32,
}

/// The value of a field.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, seen: 0 }
    }

    fn varint(&mut self) -> Option<u64> {
        // Most have one byte.
        let (&first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        if first < 0x80 {
            return Some(first.into());
        }
        let mut value = u64::from(first & 0x7f);
        for place in 1..VARINT_BYTES {
            let (&byte, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                // The tenth byte has room for one bit.
                return (place < VARINT_BYTES - 1 || byte <= 1).then_some(value);
            }
        }
        None
    }

    /// The number and the value of the next field.
    fn next(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = self.varint()?;
        let number = tag >> 3;
        if number >= 32 || self.seen & 1 << number != 0 {
            return None;
        }
        self.seen |= 1 << number;
        let value = match tag & 7 {
            VARINT => Value::Number(self.varint()?),
            BYTES => {
                let length = usize::try_from(self.varint()?).ok()?;
                let (value, rest) = self.bytes.split_at_checked(length)?;
                self.bytes = rest;
                Value::Bytes(value)
            }
            _ => return None,
        };
        Some((number, value))
    }
}

/// The `request` of a meta.
fn request(bytes: &[u8]) -> Option<About<'_>> {
    let mut fields = Fields::new(bytes);
    let (mut service, mut method) = (None, None);
    let (mut log_id, mut timeout_ms) = (None, None);
    while !fields.bytes.is_empty() {
        match fields.next()? {
            (1, Value::Bytes(name)) => service = Some(name),
            (2, Value::Bytes(name)) => method = Some(name),
            (3, Value::Number(number)) => log_id = Some(number.cast_signed()),
            // An int32 is the lower half of what is sent.
            #[expect(clippy::cast_possible_truncation)]
            (8, Value::Number(number)) => timeout_ms = Some(number as i32),
            _ => return None,
        }
    }
    Some(About::Call {
        service: service?,
        method: method?,
        log_id,
        timeout_ms,
    })
}

/// The `response` of a meta.
fn response(bytes: &[u8]) -> Option<About<'_>> {
    let mut fields = Fields::new(bytes);
    while !fields.bytes.is_empty() {
        match fields.next()? {
            (1, Value::Number(0)) => {}
            _ => return None,
        }
    }
    Some(About::Answer)
}

/// What a usual meta says; `None` for every other one.
pub(super) fn read(reads: Reads, meta: &[u8]) -> Option<Usual<'_>> {
    let mut fields = Fields::new(meta);
    let (mut about, mut id) = (None, 0);
    while !fields.bytes.is_empty() {
        match fields.next()? {
            (1, Value::Bytes(bytes)) if about.is_none() => about = Some(request(bytes)?),
            (2, Value::Bytes(bytes)) if about.is_none() => about = Some(response(bytes)?),
            (4, Value::Number(number)) => id = number,
            // Not compressed, protobuf, without a checksum: brpc says so each time.
            (3 | 10 | 11, Value::Number(0)) | (12, Value::Bytes(&[])) => {}
            _ => return None,
        }
    }
    let about = about?;
    let expected = match about {
        About::Call { .. } => Reads::Calls,
        About::Answer => Reads::Replies,
    };
    (reads == expected || reads == Reads::Both).then_some(Usual { about, id })
}

impl Usual<'_> {
    /// The frame, whose message is `payload`.
    pub(super) fn frame(self, payload: Bytes) -> Frame {
        let (id, body) = (Some(self.id), Payload::plain(payload));
        match self.about {
            About::Call {
                service,
                method,
                log_id,
                timeout_ms,
            } => Frame::Call(CallFrame {
                target: Target::Name {
                    service: Name::from_slice(service),
                    method: Name::from_slice(method),
                },
                id,
                timeout: timeout_ms.and_then(timeout),
                body: Ok(body),
                extras: log_id.map_or(Extras::NONE, logged),
            }),
            About::Answer => Frame::Reply(ReplyFrame {
                id,
                outcome: Ok(body),
                extras: Extras::NONE,
            }),
        }
    }
}

fn logged(log_id: i64) -> Extras {
    let mut extras = Extras::NONE;
    extras.parts_mut().trace.log_id = Some(log_id);
    extras
}

/// The meta of an answer that says its id and nothing else; `None` for every other one.
pub(super) fn reply_meta(reply: &OutgoingReply<'_>) -> Option<SmallVec<[u8; META_BYTES]>> {
    let plain = matches!(reply.outcome, Ok(body) if body.compression == Compression::None);
    if !plain || reply.extras.parts().is_some() {
        return None;
    }
    let mut meta = [0; META_BYTES];
    let mut room = &mut meta[..];
    // response { error_code: 0 }, compress_type: 0, correlation_id
    room.put_slice(&[0x12, 2, 0x08, 0, 0x18, 0, 0x20]);
    encode_varint(reply.id?, &mut room);
    // content_type: 0, checksum_type: 0, checksum_value: ""
    room.put_slice(&[0x50, 0, 0x58, 0, 0x62, 0]);
    let length = META_BYTES - room.len();
    Some(SmallVec::from_buf_and_len(meta, length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::Body;
    use crate::wire::baidu_std::BaiduStd;
    use crate::wire::baidu_std::incoming::any_frame;
    use crate::wire::brpc::Outgoing as _;
    use prost::Message as _;

    /// The usual fields in any order and number, some with values that are not usual.
    fn meta() -> impl Strategy<Value = Vec<u8>> {
        let varint = |number: u64| {
            let mut bytes = Vec::new();
            encode_varint(number, &mut bytes);
            bytes
        };
        let string = |tag: u8, text: Vec<u8>| {
            let mut bytes = vec![tag, u8::try_from(text.len()).unwrap()];
            bytes.extend(text);
            bytes
        };
        let number = move |tag: u8, value: u64| [vec![tag], varint(value)].concat();
        let numbers = || prop_oneof![Just(0), Just(1), any::<u64>()];
        let text = || prop::collection::vec(any::<u8>(), 0..9);
        let request = prop::collection::vec(
            prop_oneof![
                4 => text().prop_map(move |text| string(0x0a, text)),
                4 => text().prop_map(move |text| string(0x12, text)),
                2 => numbers().prop_map(move |value| number(0x40, value)),
                1 => numbers().prop_map(move |value| number(0x18, value)),
                1 => prop::collection::vec(any::<u8>(), 0..4),
            ],
            0..4,
        );
        let response = prop::collection::vec(
            prop_oneof![
                4 => Just(number(0x08, 0)),
                1 => numbers().prop_map(move |value| number(0x08, value)),
                1 => text().prop_map(move |text| string(0x12, text)),
            ],
            0..3,
        );
        let field = prop_oneof![
            4 => request.prop_map(move |parts| string(0x0a, parts.concat())),
            3 => response.prop_map(move |parts| string(0x12, parts.concat())),
            4 => numbers().prop_map(move |value| number(0x20, value)),
            2 => prop_oneof![Just(0x18), Just(0x50), Just(0x58)].prop_map(move |tag| number(tag, 0)),
            2 => Just(vec![0x62, 0]),
            1 => (any::<u8>(), numbers()).prop_map(move |(tag, value)| number(tag, value)),
            1 => prop::collection::vec(any::<u8>(), 0..4),
        ];
        prop::collection::vec(field, 0..6).prop_map(|fields| fields.concat())
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_the_long_way_reads(
            meta in meta(),
            reads in prop_oneof![Just(Reads::Calls), Just(Reads::Replies), Just(Reads::Both)],
        ) {
            let payload = Bytes::from_static(b"body");
            if let Some(usual) = read(reads, &meta) {
                let frame = usual.frame(payload.clone());
                prop_assert_eq!(any_frame(reads, &meta, payload), Ok(frame));
            }
        }

        #[test]
        fn what_is_written_is_what_the_long_way_writes(id in any::<u64>()) {
            let (body, extras) = (Body::default(), Extras::default());
            let reply = OutgoingReply { id: Some(id), outcome: Ok(body), extras: &extras };
            let long = BaiduStd::reply_meta(&reply).unwrap().encode_to_vec();
            prop_assert_eq!(&reply_meta(&reply).unwrap()[..], &long[..]);
        }
    }

    #[test]
    fn the_smallest_metas_of_brpc_are_usual() {
        let call = b"\x0a\x0c\x0a\x04Echo\x12\x04Echo\x18\0\x20\x05\x50\0\x58\0\x62\0";
        let answer = b"\x12\x02\x08\0\x18\0\x20\x05\x50\0\x58\0\x62\0";
        for (reads, meta) in [(Reads::Calls, &call[..]), (Reads::Replies, answer)] {
            assert!(read(reads, meta).is_some(), "{reads:?}");
        }
    }
}
