//! The metas that most frames have, read and written without making a message of them.
//!
//! A call that says its names, its id and perhaps its time, and an answer that says its id and
//! nothing else, are nine of ten frames. Whatever says more goes the long way, as does everything
//! that is not plain: a field twice, a number in too many bytes. A test holds both ways to the
//! same frames.

use std::ops::Range;

use bytes::Bytes;
use prost::encoding::encode_varint;
use smallvec::SmallVec;

use crate::wire::baidu_std::incoming::timeout;
use crate::wire::compress::Compression;
use crate::wire::{CallFrame, Extras, Frame, OutgoingReply, Payload, Reads, ReplyFrame, Target};

/// Bytes of a usual meta of an answer, at most.
const META_BYTES: usize = 24;

const VARINT: u64 = 0;
const BYTES: u64 = 2;
/// The most bytes of a varint.
const VARINT_BYTES: u32 = 10;

/// What a usual meta is about.
enum About {
    Call {
        service: Range<usize>,
        method: Range<usize>,
        timeout_ms: Option<i32>,
    },
    /// An answer that reports a success.
    Answer,
}

/// The fields of a message, from its bytes; `None` for what is not plain.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Numbers of the fields so far, a bit each.
    seen: u32,
}

/// The value of a field.
enum Value {
    Number(u64),
    Bytes(Range<usize>),
}

impl<'a> Fields<'a> {
    fn new(bytes: &'a [u8], range: Range<usize>) -> Option<Self> {
        Some(Self {
            bytes: bytes.get(..range.end)?,
            at: range.start,
            seen: 0,
        })
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for place in 0..VARINT_BYTES {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f).checked_shl(7 * place)?;
            if byte < 0x80 {
                // The tenth byte has room for one bit.
                return (place < VARINT_BYTES - 1 || byte <= 1).then_some(value);
            }
        }
        None
    }

    fn is_over(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The number and the value of the next field.
    fn next(&mut self) -> Option<(u32, Value)> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|&number| number < 32)?;
        let bit = 1 << number;
        if self.seen & bit != 0 {
            return None;
        }
        self.seen |= bit;
        let value = match tag & 7 {
            VARINT => Value::Number(self.varint()?),
            BYTES => {
                let length = usize::try_from(self.varint()?).ok()?;
                let end = self.at.checked_add(length)?;
                if end > self.bytes.len() {
                    return None;
                }
                let range = self.at..end;
                self.at = end;
                Value::Bytes(range)
            }
            _ => return None,
        };
        Some((number, value))
    }
}

/// The `request` of a meta.
fn request(bytes: &[u8], range: Range<usize>) -> Option<About> {
    let mut fields = Fields::new(bytes, range)?;
    let (mut service, mut method, mut timeout_ms) = (None, None, None);
    while !fields.is_over() {
        match fields.next()? {
            (1, Value::Bytes(name)) => service = Some(name),
            (2, Value::Bytes(name)) => method = Some(name),
            // An int32 is the lower half of what is sent.
            #[expect(clippy::cast_possible_truncation)]
            (8, Value::Number(number)) => timeout_ms = Some(number as i32),
            _ => return None,
        }
    }
    Some(About::Call {
        service: service?,
        method: method?,
        timeout_ms,
    })
}

/// The `response` of a meta.
fn response(bytes: &[u8], range: Range<usize>) -> Option<About> {
    let mut fields = Fields::new(bytes, range)?;
    while !fields.is_over() {
        match fields.next()? {
            (1, Value::Number(0)) => {}
            _ => return None,
        }
    }
    Some(About::Answer)
}

/// The frame of a usual meta; `None` for every other one.
pub(super) fn read(reads: Reads, meta: &Bytes, payload: &Bytes) -> Option<Frame> {
    let mut fields = Fields::new(meta, 0..meta.len())?;
    let (mut about, mut id) = (None, None);
    while !fields.is_over() {
        match fields.next()? {
            (1, Value::Bytes(range)) if about.is_none() => about = Some(request(meta, range)?),
            (2, Value::Bytes(range)) if about.is_none() => about = Some(response(meta, range)?),
            (4, Value::Number(number)) => id = Some(number),
            // Not compressed, protobuf, without a checksum: brpc says so each time.
            (3 | 10 | 11, Value::Number(0)) => {}
            (12, Value::Bytes(value)) if value.is_empty() => {}
            _ => return None,
        }
    }
    let (id, body) = (id.or(Some(0)), Payload::plain(payload.clone()));
    match (about?, reads) {
        (
            About::Call {
                service,
                method,
                timeout_ms,
            },
            Reads::Calls | Reads::Both,
        ) => Some(Frame::Call(CallFrame {
            target: Target::Name {
                service: meta.slice(service),
                method: meta.slice(method),
            },
            id,
            timeout: timeout_ms.and_then(timeout),
            body: Ok(body),
            extras: Extras::default(),
        })),
        (About::Answer, Reads::Replies | Reads::Both) => Some(Frame::Reply(ReplyFrame {
            id,
            outcome: Ok(body),
            extras: Extras::default(),
        })),
        _ => None,
    }
}

/// The meta of an answer that says its id and nothing else; `None` for every other one.
pub(super) fn reply_meta(reply: &OutgoingReply<'_>) -> Option<SmallVec<[u8; META_BYTES]>> {
    let plain = matches!(reply.outcome, Ok(body) if body.compression == Compression::None);
    if !plain || reply.extras.parts().is_some() {
        return None;
    }
    let mut varint = [0; VARINT_BYTES as usize];
    let room = varint.len();
    let mut rest = &mut varint[..];
    encode_varint(reply.id?, &mut rest);
    let length = room - rest.len();
    let mut meta = SmallVec::new();
    // response { error_code: 0 }, compress_type: 0, correlation_id
    meta.extend_from_slice(&[0x12, 2, 0x08, 0, 0x18, 0, 0x20]);
    meta.extend_from_slice(varint.get(..length)?);
    // content_type: 0, checksum_type: 0, checksum_value: ""
    meta.extend_from_slice(&[0x50, 0, 0x58, 0, 0x62, 0]);
    Some(meta)
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
            let (meta, payload) = (Bytes::from(meta), Bytes::from_static(b"body"));
            if let Some(frame) = read(reads, &meta, &payload) {
                prop_assert_eq!(any_frame(reads, meta, payload), Ok(frame));
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
            let payload = Bytes::from_static(b"body");
            let frame = read(reads, &Bytes::copy_from_slice(meta), &payload);
            assert!(frame.is_some(), "{reads:?}");
        }
    }
}
