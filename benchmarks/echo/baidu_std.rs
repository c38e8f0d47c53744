//! `PRPC`, size of meta and body, size of the meta, both big endian; then the meta and the body.

use crate::connection::Cut;
use _core::load::meta::{Value, fields, low_bits};

const HEADER: usize = 12;
const LONGEST_FRAME: usize = 64 << 20;
/// `response { error_code: 0 }`, `compress_type` 0, and the tag of the correlation id.
const BEFORE_ID: [u8; 7] = [0x12, 2, 8, 0, 0x18, 0, 0x20];
/// `content_type` 0, `checksum_type` 0, an empty `checksum_value`.
const AFTER_ID: [u8; 6] = [0x50, 0, 0x58, 0, 0x62, 0];

/// The answer's meta is the shorter one, since it names no service: it ends where the call's does.
pub(crate) fn answer(bytes: &mut [u8]) -> Result<Cut, &'static str> {
    let Some((head, _)) = bytes.split_first_chunk::<HEADER>() else {
        return Ok(Cut::Part { length: HEADER });
    };
    let [b'P', b'R', b'P', b'C', sizes @ ..] = head else {
        return Err("no PRPC");
    };
    let (size, meta_size) = sizes.split_at(4);
    let length = HEADER + big_endian(size);
    let meta_end = HEADER + big_endian(meta_size);
    if length > LONGEST_FRAME || meta_end > length {
        return Err("sizes that cannot be");
    }
    if bytes.len() < length {
        return Ok(Cut::Part { length });
    }
    let id = id_of(&bytes[HEADER..meta_end]).ok_or("a meta of no call")?;
    let (reply, reply_length) = head_of(id, length - meta_end);
    let answer = meta_end
        .checked_sub(reply_length)
        .ok_or("a meta shorter than its answer's")?;
    bytes[answer..meta_end].copy_from_slice(&reply[..reply_length]);
    Ok(Cut::Whole { length, answer })
}

fn big_endian(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | usize::from(*byte))
}

fn id_of(meta: &[u8]) -> Option<u64> {
    let (mut id, mut request) = (0, false);
    fields(meta, |number, value| match (number, value) {
        (1, Value::Bytes(_)) => request = true,
        (4, Value::Number(number)) => id = number,
        _ => {}
    })?;
    request.then_some(id)
}

/// Header and meta of an answer, and how long they are.
fn head_of(mut id: u64, body: usize) -> ([u8; 40], usize) {
    let mut head = [0; 40];
    let mut end = HEADER;
    let mut put = |bytes: &[u8]| {
        head[end..end + bytes.len()].copy_from_slice(bytes);
        end += bytes.len();
    };
    put(&BEFORE_ID);
    while id >= 0x80 {
        put(&[low_bits(id) | 0x80]);
        id >>= 7;
    }
    put(&[low_bits(id)]);
    put(&AFTER_ID);
    let meta = (end - HEADER) as u32;
    head[..4].copy_from_slice(b"PRPC");
    head[4..8].copy_from_slice(&(meta + body as u32).to_be_bytes());
    head[8..HEADER].copy_from_slice(&meta.to_be_bytes());
    (head, end)
}
