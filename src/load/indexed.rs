//! A call is `[length u32][id u32][index u16][body]`, answered by `[length u32][id u32][body]`; all little
//! endian, the length counts what comes after it.

use crate::load::wire::{Cut, SLOT_BITS, Wire, checked, word};

const HEAD: usize = 10;
const ANSWER_HEAD: usize = 8;

/// Calls of one method.
#[derive(Debug)]
pub struct Indexed {
    head: [u8; HEAD],
}

impl Indexed {
    /// Calls of the method at `index` with a body as long as `body`.
    ///
    /// # Errors
    /// It is too long for a frame.
    pub fn new(index: u16, body: &[u8]) -> Result<Self, String> {
        let length = u32::try_from(HEAD - 4 + body.len()).map_err(|error| error.to_string())?;
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&length.to_le_bytes());
        head[8..].copy_from_slice(&index.to_le_bytes());
        Ok(Self { head })
    }
}

impl Wire for Indexed {
    fn head(&self) -> &[u8] {
        &self.head
    }

    fn put_id(&self, head: &mut [u8], id: u64) {
        head[4..8].copy_from_slice(&(id as u32).to_le_bytes());
    }

    fn id(slot: usize, version: u32) -> u64 {
        u64::from(version << SLOT_BITS | slot as u32)
    }

    fn slot(id: u64) -> usize {
        (id & ((1 << SLOT_BITS) - 1)) as usize
    }

    fn answer(bytes: &[u8]) -> Result<Cut<'_>, String> {
        let (Some(length), Some(id)) = (word(bytes, 0), word(bytes, 4)) else {
            return Ok(Cut::Part {
                length: ANSWER_HEAD,
            });
        };
        let length = checked(u32::from_le_bytes(length) as usize + 4)?;
        if length < ANSWER_HEAD {
            return Err(format!("an answer of {length} bytes has no room for an id"));
        }
        Ok(match bytes.get(ANSWER_HEAD..length) {
            Some(body) => Cut::Whole {
                id: u32::from_le_bytes(id).into(),
                outcome: Ok(body),
                length,
            },
            None => Cut::Part { length },
        })
    }
}
