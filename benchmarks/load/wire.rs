//! What the load generator wants to know of a protocol.

use crate::shared::meta::low_bits;

/// No message of a measurement is longer.
pub(crate) const LONGEST_FRAME: usize = 64 << 20;

/// Bits of an indexed id that name the slot.
pub(crate) const SLOT_BITS: u32 = 10;

pub(crate) trait Wire {
    /// What a call's frame has before its body. Its length does not depend on the id.
    fn head(&self) -> &[u8];
    /// Writes an id into a copy of the head.
    fn put_id(&self, head: &mut [u8], id: u64);
    /// The id of a slot's call; each version is another id.
    fn id(slot: usize, version: u32) -> u64;
    /// The slot of an id that came; it may be any number.
    fn slot(id: u64) -> usize;
    /// Cuts the first answer off `bytes`, or says what is wrong with it.
    fn answer(bytes: &[u8]) -> Result<Cut<'_>, String>;
}

#[derive(Debug)]
pub(crate) enum Cut<'a> {
    /// An answer of a call that succeeded.
    Whole {
        id: u64,
        body: &'a [u8],
        length: usize,
    },
    /// Not there yet; the frame's length where it is known, else the header's.
    Part { length: usize },
}

/// So many bytes. They are ASCII, so that a server may take them for a string.
pub(crate) fn payload_of(size: usize) -> Vec<u8> {
    (b'!'..=b'~').cycle().take(size).collect()
}

/// A protobuf message with the payload as field 1.
pub(crate) fn message_of(payload: &[u8]) -> Vec<u8> {
    let mut message = vec![0x0a];
    put_varint(&mut message, payload.len() as u64);
    message.extend(payload);
    message
}

/// A little-endian or big-endian u32 at `place`, if there is one.
pub(crate) fn word(bytes: &[u8], place: usize) -> Option<[u8; 4]> {
    bytes.get(place..place + 4)?.try_into().ok()
}

/// Holds a frame's length, header included, against the longest that is looked for.
pub(crate) fn checked(length: usize) -> Result<usize, String> {
    if length > LONGEST_FRAME {
        return Err(format!(
            "an answer of {length} bytes, more than {LONGEST_FRAME}"
        ));
    }
    Ok(length)
}

/// Appends a varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(low_bits(number) | 0x80);
        number >>= 7;
    }
    out.push(low_bits(number));
}
