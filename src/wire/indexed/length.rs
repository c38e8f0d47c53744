//! What the length field of a layout counts.

use crate::wire::WireError;
use crate::wire::indexed::number::largest;
use crate::wire::indexed::{FrameKind, Layout, LengthCovers};

impl Layout {
    /// Bytes between the length field and the body.
    pub(super) const fn prefix(&self, kind: FrameKind) -> usize {
        match kind {
            FrameKind::Call => self.id_width + self.index_width,
            FrameKind::Reply => self.id_width,
        }
    }

    /// What the length field counts beyond (or, if negative, short of) the bytes after it.
    pub(super) const fn surplus(&self, kind: FrameKind) -> i64 {
        match self.length_covers {
            LengthCovers::AfterLength => 0,
            LengthCovers::WholeFrame => narrow(self.length_width),
            LengthCovers::BodyOnly => -narrow(self.prefix(kind)),
        }
    }

    /// The most bytes after the length field, by the limit and by what the field can express.
    pub(super) fn most_after_length(&self, kind: FrameKind) -> u64 {
        let expressible = largest(self.length_width).saturating_add_signed(-self.surplus(kind));
        self.max_length.min(expressible)
    }

    /// Bytes after the length field for the announced length, held against both bounds.
    pub(super) fn after_length(&self, kind: FrameKind, announced: u64) -> Result<usize, WireError> {
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
        if after > self.max_length {
            let limit = as_announced(self.max_length);
            return Err(WireError::LengthAboveLimit { announced, limit });
        }
        usize::try_from(after).map_err(|_| below)
    }
}

/// A width, at most 12, as a signed number.
#[expect(clippy::cast_possible_wrap)]
const fn narrow(width: usize) -> i64 {
    width as i64
}

#[cfg(test)]
mod tests {
    use crate::wire::indexed::codec::tests::{DEFAULT, decode};
    use crate::wire::indexed::{IndexedCodec, Layout, LengthCovers};
    use crate::wire::{EncodeError, WireError};

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
}
