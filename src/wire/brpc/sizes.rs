//! The sizes in a header, and which of them are taken and sent.

use crate::wire::{EncodeError, WireError, limits};

/// What follows a header, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// The meta.
    pub(crate) meta: u64,
    /// What follows it: the message and the attachment.
    pub(crate) rest: u64,
}

impl Sizes {
    /// The sizes of a header that counts the meta into the body, as baidu_std and hulu_pbrpc do.
    pub(crate) fn of_body(body: u32, meta: u32, limit: u64) -> Result<Self, WireError> {
        let (body, meta) = (u64::from(body), u64::from(meta));
        check_limit(body, limit)?;
        check_limit(meta, limits::META_BYTES)?;
        let rest = body
            .checked_sub(meta)
            .ok_or(WireError::Sizes { meta, body })?;
        Ok(Self { meta, rest })
    }

    /// The sizes of a header that counts the meta, the body after it, and both together, as
    /// sofa_pbrpc does. brpc holds each of the first two to the limit, and not the third.
    pub(crate) fn of_sum(
        meta: u32,
        body: u64,
        message: u64,
        limit: u64,
    ) -> Result<Self, WireError> {
        let meta = u64::from(meta);
        if meta.checked_add(body) != Some(message) {
            return Err(WireError::Sum {
                message,
                meta,
                body,
            });
        }
        check_limit(message, limit)?;
        check_limit(meta, limits::META_BYTES)?;
        Ok(Self { meta, rest: body })
    }

    /// The sizes of a frame to be sent.
    pub(crate) fn to_send(
        meta: usize,
        message: usize,
        attachment: usize,
        limit: u64,
    ) -> Result<Self, EncodeError> {
        let sizes = Self {
            meta: meta as u64,
            rest: (message as u64).saturating_add(attachment as u64),
        };
        if sizes.meta > limits::META_BYTES {
            return Err(EncodeError::Meta {
                meta: sizes.meta,
                limit: limits::META_BYTES,
            });
        }
        // The fields of the metas that hold sizes are signed and have 32 bits.
        let limit = limit.min(i32::MAX as u64);
        if sizes.sum() > limit {
            return Err(EncodeError::Body {
                body: message,
                announced: sizes.sum(),
                limit,
            });
        }
        Ok(sizes)
    }

    /// All that follows the header.
    pub(crate) fn sum(self) -> u64 {
        self.meta.saturating_add(self.rest)
    }

    /// The meta, in the 32 bits that all headers have for it.
    #[expect(clippy::cast_possible_truncation)] // it is held against META_BYTES first
    pub(crate) fn short_meta(self) -> u32 {
        self.meta as u32
    }

    /// All that follows the header, in the 32 bits that two headers have for it.
    #[expect(clippy::cast_possible_truncation)] // it is held against the largest i32 first
    pub(crate) fn short_sum(self) -> u32 {
        self.sum() as u32
    }
}

fn check_limit(announced: u64, limit: u64) -> Result<(), WireError> {
    if announced > limit {
        return Err(WireError::LengthAboveLimit { announced, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_fits_the_signed_fields_whatever_the_limit() {
        let largest = i32::MAX as usize;
        let sizes = Sizes::to_send(5, largest - 6, 1, u64::MAX).unwrap();
        assert_eq!(
            (sizes.short_meta(), sizes.short_sum()),
            (5, i32::MAX as u32)
        );
        for (message, attachment) in [(largest - 5, 1), (0, largest), (usize::MAX, usize::MAX)] {
            let error = Sizes::to_send(5, message, attachment, u64::MAX).unwrap_err();
            let limit = i32::MAX as u64;
            assert!(
                matches!(error, EncodeError::Body { body, limit: named, .. }
                    if body == message && named == limit),
                "{error}"
            );
        }
    }

    #[test]
    fn a_body_is_held_against_the_limit_before_anything_else() {
        let reason = |body, meta| Sizes::of_body(body, meta, 10).unwrap_err().reason();
        assert_eq!(reason(11, 12), "length_above_limit");
        assert_eq!(reason(11, 0), "length_above_limit");
        assert_eq!(reason(10, 11), "bad_sizes");
        let sizes = Sizes::of_body(10, 10, 10).unwrap();
        assert_eq!((sizes.meta, sizes.rest), (10, 0));
    }

    #[test]
    fn a_sum_is_checked_before_it_is_held_against_the_limit() {
        let error = |meta, body, message| Sizes::of_sum(meta, body, message, 10).unwrap_err();
        assert_eq!(error(1, 2, 4).reason(), "bad_sizes");
        assert_eq!(error(1, u64::MAX, 0).reason(), "bad_sizes");
        assert_eq!(error(1, 99, 101).reason(), "bad_sizes");
        assert_eq!(error(1, 10, 11).reason(), "length_above_limit");
        let sizes = Sizes::of_sum(1, 9, 10, 10).unwrap();
        assert_eq!((sizes.meta, sizes.rest, sizes.sum()), (1, 9, 10));
    }
}
