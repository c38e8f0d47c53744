//! A call is `[length u32][id u32][index u16][body]`, answered by `[length u32][id u32][body]`; all little
//! endian, the length counts what comes after it.

use crate::connection::Cut;

const LENGTH: usize = 4;
const HEAD: usize = 10;
const INDEX: usize = 2;
const LONGEST_FRAME: usize = 64 << 20;

/// Two bytes fewer than the call: the answer has no index.
pub(crate) fn answer(bytes: &mut [u8]) -> Result<Cut, &'static str> {
    let Some((head, _)) = bytes.split_first_chunk::<HEAD>() else {
        return Ok(Cut::Part { length: HEAD });
    };
    let [a, b, c, d, id @ .., _, _] = *head;
    let size = u32::from_le_bytes([a, b, c, d]);
    let length = size as usize + LENGTH;
    if !(HEAD..=LONGEST_FRAME).contains(&length) {
        return Err("a length that cannot be");
    }
    if bytes.len() < length {
        return Ok(Cut::Part { length });
    }
    bytes[INDEX..][..LENGTH].copy_from_slice(&(size - INDEX as u32).to_le_bytes());
    bytes[INDEX + LENGTH..HEAD].copy_from_slice(&id);
    Ok(Cut::Whole {
        length,
        answer: INDEX,
    })
}
