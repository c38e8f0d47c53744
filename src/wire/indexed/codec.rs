//! Bytes to frames and back, for any layout.

use bytes::{Buf as _, BytesMut};

use crate::wire::codec::take;
use crate::wire::indexed::number::largest;
use crate::wire::indexed::{Frame, FrameKind, Layout};
use crate::wire::{EncodeError, Head, WireError};

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

    fn head(
        &self,
        kind: FrameKind,
        id: Option<u64>,
        index: u32,
        body: usize,
    ) -> Result<Head, EncodeError> {
        let prefix = self.layout.prefix(kind) as u64;
        let after = prefix.saturating_add(body as u64);
        let most = self.layout.most_after_length(kind);
        if after > most {
            return Err(EncodeError::Body {
                body,
                announced: after,
                limit: most,
            });
        }
        let order = self.layout.byte_order;
        let mut bytes = [0; HEAD_BYTES];
        let announced = after.saturating_add_signed(self.layout.surplus(kind));
        let mut room = order.put(&mut bytes, announced, self.layout.length_width);
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
            (Some(id), width) => room = order.put(room, id, width),
        }
        if kind == FrameKind::Call {
            room = order.put(room, index.into(), self.layout.index_width);
        }
        let length = HEAD_BYTES - room.len();
        Ok(Head::from(bytes.get(..length).unwrap_or_default()))
    }

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
            byte_order,
            length_width,
            id_width,
            index_width,
            ..
        } = self.layout;
        let Some(length) = buffer.get(..length_width) else {
            return Ok(None);
        };
        let after = self.layout.after_length(kind, byte_order.number(length))?;
        if buffer.len() - length_width < after {
            return Ok(None);
        }
        let (id_at, index_at) = (length_width, length_width + id_width);
        let number = |from: usize, width: usize| {
            let bytes = buffer.get(from..from + width);
            bytes.map_or(0, |bytes| byte_order.number(bytes))
        };
        let id = (id_width > 0).then(|| number(id_at, id_width));
        // An index has at most 4 bytes.
        #[expect(clippy::cast_possible_truncation)]
        let index = match kind {
            FrameKind::Call => Some(number(index_at, index_width) as u32),
            FrameKind::Reply => None,
        };
        let prefix = self.layout.prefix(kind);
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::wire::indexed::{ByteOrder, LengthCovers, Reply};

    pub(in crate::wire::indexed) const DEFAULT: Layout = Layout {
        byte_order: ByteOrder::Little,
        length_width: 4,
        length_covers: LengthCovers::AfterLength,
        index_width: 2,
        id_width: 0,
        reply: Reply::None,
        max_length: 100,
    };

    pub(in crate::wire::indexed) fn decode(
        layout: Layout,
        bytes: &[u8],
    ) -> Result<Option<Frame>, WireError> {
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
