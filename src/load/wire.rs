//! What the load generator wants to know of a protocol.

use crate::load::meta::low_bits;

/// No message of a measurement is longer.
pub const LONGEST_FRAME: usize = 64 << 20;

/// Bits of an indexed id that name the slot.
pub const SLOT_BITS: u32 = 10;

/// A protocol whose frames are encoded beforehand, but for their ids.
pub trait Wire {
    /// What a call's frame has before its body. Its length does not depend on the id.
    fn head(&self) -> &[u8];
    /// Writes an id into a copy of the head.
    fn put_id(&self, head: &mut [u8], id: u64);
    /// The id of a slot's call; each version is another id.
    fn id(slot: usize, version: u32) -> u64;
    /// The slot of an id that came; it may be any number.
    fn slot(id: u64) -> usize;
    /// Cuts the first answer off `bytes`, or says what is wrong with it.
    ///
    /// # Errors
    /// The bytes are no answers of this protocol.
    fn answer(bytes: &[u8]) -> Result<Cut<'_>, String>;
}

/// What stands at the front of received bytes.
#[derive(Debug)]
pub enum Cut<'a> {
    /// An answer.
    Whole {
        /// Of the call.
        id: u64,
        /// The response; or how the call failed, for people.
        outcome: Result<&'a [u8], String>,
        /// Bytes of the frame.
        length: usize,
    },
    /// Not there yet; the frame's length where it is known, else the header's.
    Part {
        /// In bytes.
        length: usize,
    },
}

/// A little-endian or big-endian u32 at `place`, if there is one.
#[must_use]
pub fn word(bytes: &[u8], place: usize) -> Option<[u8; 4]> {
    bytes.get(place..place + 4)?.try_into().ok()
}

/// Holds a frame's length, header included, against the longest that is looked for.
///
/// # Errors
/// It is longer.
pub fn checked(length: usize) -> Result<usize, String> {
    if length > LONGEST_FRAME {
        return Err(format!(
            "an answer of {length} bytes, more than {LONGEST_FRAME}"
        ));
    }
    Ok(length)
}

/// Appends a varint.
pub fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(low_bits(number) | 0x80);
        number >>= 7;
    }
    out.push(low_bits(number));
}
