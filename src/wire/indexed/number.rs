//! Numbers in fields of some width.

use crate::wire::indexed::ByteOrder;

/// The largest number of `width` bytes; 0 for none.
pub(super) const fn largest(width: usize) -> u64 {
    if width == 0 {
        0
    } else {
        u64::MAX >> (64 - 8 * width)
    }
}

impl ByteOrder {
    /// The number in a field.
    pub(super) fn number(self, bytes: &[u8]) -> u64 {
        let step = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        match self {
            Self::Little => bytes.iter().rev().fold(0, step),
            Self::Big => bytes.iter().fold(0, step),
        }
    }

    /// Puts a number into a field of `width` bytes at the front of `room`; returns the rest of it.
    pub(super) fn put(self, room: &mut [u8], number: u64, width: usize) -> &mut [u8] {
        let (field, rest) = room.split_at_mut(width);
        match self {
            Self::Little => {
                let bytes = number.to_le_bytes();
                field.copy_from_slice(bytes.get(..width).unwrap_or_default());
            }
            Self::Big => {
                let bytes = number.to_be_bytes();
                field.copy_from_slice(bytes.get(8 - width..).unwrap_or_default());
            }
        }
        rest
    }
}
