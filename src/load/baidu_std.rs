//! `PRPC`, size of meta and body, size of the meta, both big endian; then the meta and the body.
//!
//! The meta of a call has what brpc's own client sends without a deadline.

use crate::load::meta::{Value, fields, low_bits};
use crate::load::wire::{Cut, Wire, checked, put_varint, word};

const HEADER: usize = 12;

/// Ids are made as brpc makes them, with a slot in the high half and a version in the low one.
/// These slots have ids of six bytes, so that all frames are of one length.
const FIRST_SLOT: u64 = 8;
const ID_BYTES: usize = 6;

/// Calls of one method.
#[derive(Debug)]
pub struct BaiduStd {
    head: Vec<u8>,
    id_at: usize,
}

impl BaiduStd {
    /// Calls of `method` of `service` (full name) with a body as long as `body`.
    ///
    /// # Errors
    /// It is too long for a frame.
    pub fn new(service: &str, method: &str, body: &[u8]) -> Result<Self, String> {
        let mut request = Vec::new();
        put_text(&mut request, 1, service);
        put_text(&mut request, 2, method);
        let mut meta = vec![0x0a];
        put_varint(&mut meta, request.len() as u64);
        meta.extend(request);
        // compress_type 0; then the correlation id.
        meta.extend([0x18, 0, 0x20]);
        let id_at = HEADER + meta.len();
        meta.extend([0; ID_BYTES]);
        // content_type 0, checksum_type 0, an empty checksum_value.
        meta.extend([0x50, 0, 0x58, 0, 0x62, 0]);

        let size = |length: usize| u32::try_from(length).map_err(|error| error.to_string());
        let mut head = b"PRPC".to_vec();
        head.extend(size(meta.len() + body.len())?.to_be_bytes());
        head.extend(size(meta.len())?.to_be_bytes());
        head.extend(meta);
        Ok(Self { head, id_at })
    }
}

impl Wire for BaiduStd {
    fn head(&self) -> &[u8] {
        &self.head
    }

    fn put_id(&self, head: &mut [u8], id: u64) {
        for (place, byte) in head[self.id_at..][..ID_BYTES].iter_mut().enumerate() {
            let more = if place + 1 < ID_BYTES { 0x80 } else { 0 };
            *byte = low_bits(id >> (7 * place)) | more;
        }
    }

    fn id(slot: usize, version: u32) -> u64 {
        (slot as u64 + FIRST_SLOT) << 32 | u64::from(version)
    }

    fn slot(id: u64) -> usize {
        (id >> 32).wrapping_sub(FIRST_SLOT) as usize
    }

    fn answer(bytes: &[u8]) -> Result<Cut<'_>, String> {
        let (Some(size), Some(meta_size)) = (word(bytes, 4), word(bytes, 8)) else {
            return Ok(Cut::Part { length: HEADER });
        };
        if !bytes.starts_with(b"PRPC") {
            return Err(format!(
                "an answer begins with {}",
                bytes[..4].escape_ascii()
            ));
        }
        let length = checked(HEADER + u32::from_be_bytes(size) as usize)?;
        let meta_end = HEADER + u32::from_be_bytes(meta_size) as usize;
        if meta_end > length {
            return Err(format!("a meta of {meta_end} bytes in a frame of {length}"));
        }
        let Some(frame) = bytes.get(..length) else {
            return Ok(Cut::Part { length });
        };
        let (id, failure) = read_meta(&frame[HEADER..meta_end])?;
        Ok(Cut::Whole {
            id,
            outcome: failure.map_or_else(|| Ok(&frame[meta_end..]), Err),
            length,
        })
    }
}

/// The id of an answer, and how the call failed, if it did.
fn read_meta(meta: &[u8]) -> Result<(u64, Option<String>), String> {
    let (mut id, mut response, mut plain) = (0, None, true);
    fields(meta, |number, value| match (number, value) {
        (2, Value::Bytes(bytes)) => response = Some(bytes),
        (4, Value::Number(number)) => id = number,
        // Compressed, or with an attachment or a checksum: nobody asked for it.
        (3 | 5 | 11, Value::Number(number)) if number != 0 => plain = false,
        _ => {}
    })
    .ok_or("a meta that does not parse")?;
    let response = response.ok_or("an answer without `response`")?;
    let (mut code, mut text) = (0, &b""[..]);
    fields(response, |number, value| match (number, value) {
        (1, Value::Number(number)) => code = number,
        (2, Value::Bytes(bytes)) => text = bytes,
        _ => {}
    })
    .ok_or("a `response` that does not parse")?;
    match (code, plain) {
        (0, true) => Ok((id, None)),
        (0, false) => Err("an answer with something that nobody asked for".to_owned()),
        _ => Ok((id, Some(format!("{code}: {}", text.escape_ascii())))),
    }
}

fn put_text(out: &mut Vec<u8>, field: u8, text: &str) {
    out.push(field << 3 | 2);
    put_varint(out, text.len() as u64);
    out.extend(text.as_bytes());
}
