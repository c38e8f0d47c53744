//! Bytes to frames and back, for any layout.

use bytes::{Buf as _, BytesMut};

use crate::wire::codec::take;
use crate::wire::compress::Compression;
use crate::wire::indexed::{ByteOrder, Frame, FrameKind, Layout, LengthCovers, Reply};
use crate::wire::{
    Answers, Body, CallFrame, Carries, Codec, EncodeError, Extras, Frame as Enveloped, Head,
    OutgoingCall, OutgoingReply, Payload, Reads, ReplyFrame, Sniff, Target, Traits, WireError,
};

/// The protocol's name.
const NAME: &str = "indexed";
/// Room for the largest length, id and index.
const HEAD_BYTES: usize = 8 + 8 + 4;

/// The codec of one layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexedCodec {
    layout: Layout,
}

impl IndexedCodec {
    /// A codec for `layout`, which has been checked.
    #[must_use]
    pub const fn new(layout: Layout) -> Self {
        Self { layout }
    }

    /// The layout it speaks.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Bytes between the length field and the body.
    const fn prefix(&self, kind: FrameKind) -> usize {
        match kind {
            FrameKind::Call => self.layout.id_width + self.layout.index_width,
            FrameKind::Reply => self.layout.id_width,
        }
    }

    /// What the length field counts beyond (or, if negative, short of) the bytes after it.
    const fn surplus(&self, kind: FrameKind) -> i64 {
        match self.layout.length_covers {
            LengthCovers::AfterLength => 0,
            LengthCovers::WholeFrame => narrow(self.layout.length_width),
            LengthCovers::BodyOnly => -narrow(self.prefix(kind)),
        }
    }

    /// The most bytes after the length field, by the limit and by what the field can express.
    fn most_after_length(&self, kind: FrameKind) -> u64 {
        let expressible =
            largest(self.layout.length_width).saturating_add_signed(-self.surplus(kind));
        self.layout.max_length.min(expressible)
    }

    /// Bytes after the length field for the announced length, held against both bounds.
    fn after_length(&self, kind: FrameKind, announced: u64) -> Result<usize, WireError> {
        let surplus = self.surplus(kind);
        let as_announced = |after: u64| after.saturating_add_signed(surplus);
        let prefix = self.prefix(kind) as u64;
        let below = WireError::LengthBelowHeader {
            announced,
            minimum: as_announced(prefix),
        };
        if announced < as_announced(prefix) {
            return Err(below);
        }
        let after = announced.saturating_add_signed(-surplus);
        if after > self.layout.max_length {
            let limit = as_announced(self.layout.max_length);
            return Err(WireError::LengthAboveLimit { announced, limit });
        }
        usize::try_from(after).map_err(|_| below)
    }

    fn number(&self, bytes: &[u8]) -> u64 {
        let step = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        match self.layout.byte_order {
            ByteOrder::Little => bytes.iter().rev().fold(0, step),
            ByteOrder::Big => bytes.iter().fold(0, step),
        }
    }

    fn put_number<'a>(&self, room: &'a mut [u8], number: u64, width: usize) -> &'a mut [u8] {
        let (field, rest) = room.split_at_mut(width);
        match self.layout.byte_order {
            ByteOrder::Little => {
                let bytes = number.to_le_bytes();
                field.copy_from_slice(bytes.get(..width).unwrap_or_default());
            }
            ByteOrder::Big => {
                let bytes = number.to_be_bytes();
                field.copy_from_slice(bytes.get(8 - width..).unwrap_or_default());
            }
        }
        rest
    }

    fn head(
        &self,
        kind: FrameKind,
        id: Option<u64>,
        index: u32,
        body: usize,
    ) -> Result<Head, EncodeError> {
        let prefix = self.prefix(kind) as u64;
        let after = prefix.saturating_add(body as u64);
        let most = self.most_after_length(kind);
        if after > most {
            return Err(EncodeError::Body {
                body,
                announced: after,
                limit: most,
            });
        }
        let mut bytes = [0; HEAD_BYTES];
        let announced = after.saturating_add_signed(self.surplus(kind));
        let mut room = self.put_number(&mut bytes, announced, self.layout.length_width);
        match (id, self.layout.id_width) {
            (None, 0) => {}
            (None, _) => return Err(EncodeError::IdMissing),
            (Some(id), 0) => return Err(EncodeError::IdUnknown(id)),
            (Some(id), width) if id > largest(width) => {
                return Err(EncodeError::Id {
                    id,
                    largest: largest(width),
                });
            }
            (Some(id), width) => room = self.put_number(room, id, width),
        }
        if kind == FrameKind::Call {
            room = self.put_number(room, index.into(), self.layout.index_width);
        }
        let length = HEAD_BYTES - room.len();
        Ok(Head::from(bytes.get(..length).unwrap_or_default()))
    }
}

impl IndexedCodec {
    /// Takes one complete frame of `kind` off the front of `buffer`; `Ok(None)` when more bytes
    /// are needed.
    ///
    /// # Errors
    /// Bytes that no honest peer sends. The stream cannot be read on after that.
    pub fn decode(
        &self,
        kind: FrameKind,
        buffer: &mut BytesMut,
    ) -> Result<Option<Frame>, WireError> {
        let Layout {
            length_width,
            id_width,
            index_width,
            ..
        } = self.layout;
        let Some(length) = buffer.get(..length_width) else {
            return Ok(None);
        };
        let after = self.after_length(kind, self.number(length))?;
        if buffer.len() - length_width < after {
            return Ok(None);
        }
        let (id_at, index_at) = (length_width, length_width + id_width);
        let number = |from: usize, width: usize| {
            let bytes = buffer.get(from..from + width);
            bytes.map_or(0, |bytes| self.number(bytes))
        };
        let id = (id_width > 0).then(|| number(id_at, id_width));
        // An index has at most 4 bytes.
        #[expect(clippy::cast_possible_truncation)]
        let index = match kind {
            FrameKind::Call => Some(number(index_at, index_width) as u32),
            FrameKind::Reply => None,
        };
        let prefix = self.prefix(kind);
        buffer.advance(length_width + prefix);
        let body = take(buffer, after - prefix);
        Ok(Some(Frame { index, id, body }))
    }

    /// What to send before a body of `body` bytes to call the method at `index`.
    ///
    /// # Errors
    /// The layout or the limit cannot carry such a call.
    pub fn call_head(&self, index: u32, id: Option<u64>, body: usize) -> Result<Head, EncodeError> {
        let largest = largest(self.layout.index_width);
        if u64::from(index) > largest {
            return Err(EncodeError::Index { index, largest });
        }
        self.head(FrameKind::Call, id, index, body)
    }

    /// What to send before a body of `body` bytes to answer a call.
    ///
    /// # Errors
    /// The layout or the limit cannot carry such an answer.
    pub fn reply_head(&self, id: Option<u64>, body: usize) -> Result<Head, EncodeError> {
        self.head(FrameKind::Reply, id, 0, body)
    }
}

/// Nothing but a message fits into these frames.
fn bare(extras: &Extras, body: Body<'_>) -> Result<usize, EncodeError> {
    if body.compression != Compression::None {
        return Err(EncodeError::Extra {
            protocol: NAME,
            what: "compression",
        });
    }
    extras.check(NAME, Carries::default())?;
    Ok(body.bytes.len())
}

impl Codec for IndexedCodec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn traits(&self) -> Traits {
        Traits {
            answers: match self.layout.reply {
                Reply::None => Answers::Never,
                Reply::ById => Answers::ById,
                Reply::InOrder => Answers::InOrder,
            },
            failures: false,
            concurrent: self.layout.id_width > 0 && self.layout.reply != Reply::None,
            credentials: false,
            metadata: false,
            both_ways: self.layout.reply == Reply::None,
            largest_id: largest(self.layout.id_width),
        }
    }

    fn limit(&self) -> u64 {
        self.layout.max_length
    }

    fn sniff(&self, bytes: &[u8]) -> Sniff {
        match bytes.get(..self.layout.length_width) {
            None => Sniff::NeedMore,
            Some(length) => match self.after_length(FrameKind::Call, self.number(length)) {
                Ok(_) => Sniff::Matched,
                Err(_) => Sniff::None,
            },
        }
    }

    fn decode(&self, reads: Reads, buffer: &mut BytesMut) -> Result<Option<Enveloped>, WireError> {
        let kind = match reads {
            Reads::Replies if self.layout.reply != Reply::None => FrameKind::Reply,
            Reads::Calls | Reads::Replies | Reads::Both => FrameKind::Call,
        };
        let Some(Frame { index, id, body }) = Self::decode(self, kind, buffer)? else {
            return Ok(None);
        };
        let (body, extras) = (Payload::plain(body), Extras::default());
        Ok(Some(match index {
            Some(index) => Enveloped::Call(CallFrame {
                target: Target::Index(index),
                id,
                timeout: None,
                body: Ok(body),
                extras,
            }),
            None => Enveloped::Reply(ReplyFrame {
                id,
                outcome: Ok(body),
                extras,
            }),
        }))
    }

    fn call_head(&self, call: &OutgoingCall<'_>) -> Result<Head, EncodeError> {
        let body = bare(call.extras, call.body)?;
        let id = call.id.filter(|_| self.layout.id_width > 0);
        Self::call_head(self, call.method.index, id, body)
    }

    fn reply_head(&self, reply: &OutgoingReply<'_>) -> Result<Head, EncodeError> {
        let Ok(body) = reply.outcome else {
            return Err(EncodeError::Failure(NAME));
        };
        let id = reply.id.filter(|_| self.layout.id_width > 0);
        Self::reply_head(self, id, bare(reply.extras, body)?)
    }
}

/// The largest number of `width` bytes; 0 for none.
const fn largest(width: usize) -> u64 {
    if width == 0 {
        0
    } else {
        u64::MAX >> (64 - 8 * width)
    }
}

/// A width, at most 12, as a signed number.
#[expect(clippy::cast_possible_wrap)]
const fn narrow(width: usize) -> i64 {
    width as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::indexed::Reply;

    const DEFAULT: Layout = Layout {
        byte_order: ByteOrder::Little,
        length_width: 4,
        length_covers: LengthCovers::AfterLength,
        index_width: 2,
        id_width: 0,
        reply: Reply::None,
        max_length: 100,
    };

    fn decode(layout: Layout, bytes: &[u8]) -> Result<Option<Frame>, WireError> {
        IndexedCodec::new(layout).decode(FrameKind::Call, &mut BytesMut::from(bytes))
    }

    #[test]
    fn the_example_of_the_protocol_page() {
        let body = b"\x0a\x08m000000-";
        let head = IndexedCodec::new(DEFAULT)
            .call_head(0, None, body.len())
            .unwrap();
        assert_eq!(head.as_slice(), b"\x0c\0\0\0\0\0");
        let frame = decode(DEFAULT, &[head.as_slice(), body].concat())
            .unwrap()
            .unwrap();
        assert_eq!(
            (frame.index, frame.id, &frame.body[..]),
            (Some(0), None, &body[..])
        );
    }

    #[test]
    fn need_more_leaves_the_buffer_alone() {
        let mut buffer = BytesMut::from(&b"\x05\0\0\0\x01\0ab"[..]);
        let whole = buffer.clone();
        let codec = IndexedCodec::new(DEFAULT);
        assert_eq!(codec.decode(FrameKind::Call, &mut buffer), Ok(None));
        assert_eq!(buffer, whole);
    }

    #[test]
    fn the_limit_counts_bytes_after_the_length_in_every_layout() {
        for covers in [
            LengthCovers::AfterLength,
            LengthCovers::WholeFrame,
            LengthCovers::BodyOnly,
        ] {
            let codec = IndexedCodec::new(Layout {
                length_covers: covers,
                ..DEFAULT
            });
            assert!(codec.call_head(0, None, 98).is_ok(), "{covers:?}");
            let error = codec.call_head(0, None, 99).unwrap_err();
            assert_eq!(
                error,
                EncodeError::Body {
                    body: 99,
                    announced: 101,
                    limit: 100
                },
                "{covers:?}"
            );
            let at_limit = codec.call_head(0, None, 98).unwrap();
            let mut announced = at_limit.as_slice().to_vec();
            assert_eq!(decode(*codec.layout(), &announced), Ok(None), "{covers:?}");
            announced[0] += 1;
            let error = decode(*codec.layout(), &announced).unwrap_err();
            assert_eq!(error.reason(), "length_above_limit", "{covers:?}");
        }
    }

    #[test]
    fn a_narrow_length_field_bounds_the_body() {
        for (covers, most) in [
            (LengthCovers::AfterLength, 65533),
            (LengthCovers::WholeFrame, 65531),
            (LengthCovers::BodyOnly, 65535),
        ] {
            let layout = Layout {
                length_width: 2,
                length_covers: covers,
                max_length: 1 << 20,
                ..DEFAULT
            };
            let codec = IndexedCodec::new(layout);
            assert!(codec.call_head(0, None, most).is_ok(), "{covers:?}");
            let error = codec.call_head(0, None, most + 1).unwrap_err();
            assert_eq!(
                error,
                EncodeError::Body {
                    body: most + 1,
                    announced: most as u64 + 3,
                    limit: most as u64 + 2
                }
            );
        }
    }

    #[test]
    fn a_length_below_what_it_must_cover_is_refused() {
        let whole = Layout {
            length_covers: LengthCovers::WholeFrame,
            ..DEFAULT
        };
        for (layout, announced, minimum) in [(DEFAULT, 1, 2), (DEFAULT, 0, 2), (whole, 5, 6)] {
            let error = decode(layout, &[announced, 0, 0, 0]).unwrap_err();
            let announced = u64::from(announced);
            assert_eq!(error, WireError::LengthBelowHeader { announced, minimum });
        }
        let body_only = Layout {
            length_covers: LengthCovers::BodyOnly,
            ..DEFAULT
        };
        assert_eq!(decode(body_only, &[0, 0, 0, 0]), Ok(None));
    }

    #[test]
    fn the_largest_lengths_do_not_overflow() {
        for covers in [
            LengthCovers::AfterLength,
            LengthCovers::WholeFrame,
            LengthCovers::BodyOnly,
        ] {
            let layout = Layout {
                length_width: 8,
                length_covers: covers,
                ..DEFAULT
            };
            let error = decode(layout, &[0xff; 8]).unwrap_err();
            assert_eq!(error.reason(), "length_above_limit", "{covers:?}");
        }
    }

    #[test]
    fn what_a_layout_cannot_carry_is_refused() {
        let codec = IndexedCodec::new(DEFAULT);
        assert!(codec.call_head(65535, None, 0).is_ok());
        assert!(matches!(
            codec.call_head(65536, None, 0),
            Err(EncodeError::Index { .. })
        ));
        assert_eq!(
            codec.call_head(0, Some(7), 0).unwrap_err(),
            EncodeError::IdUnknown(7)
        );
        let one_method = IndexedCodec::new(Layout {
            index_width: 0,
            ..DEFAULT
        });
        assert!(one_method.call_head(0, None, 0).is_ok());
        assert!(matches!(
            one_method.call_head(1, None, 0),
            Err(EncodeError::Index { .. })
        ));
        let with_id = IndexedCodec::new(Layout {
            id_width: 4,
            reply: Reply::ById,
            ..DEFAULT
        });
        assert_eq!(
            with_id.call_head(0, None, 0).unwrap_err(),
            EncodeError::IdMissing
        );
        assert!(with_id.reply_head(Some(0xffff_ffff), 0).is_ok());
        let error = with_id.reply_head(Some(0x1_0000_0000), 0).unwrap_err();
        assert_eq!(
            error,
            EncodeError::Id {
                id: 1 << 32,
                largest: 0xffff_ffff
            }
        );
    }
}
