//! Thrift's strict binary protocol in frames, for the one method `Message echo(1: Message)`.
//!
//! `[length u32][80 01 00 01][name][sequence number i32]`, then a struct with the argument as field
//! 1; in an answer 2 in place of the last 1, and the result as field 0. All big endian.

use _core::load::wire::{Cut, SLOT_BITS, Wire, checked, word};

const LENGTH: usize = 4;
const CALL: [u8; 4] = [0x80, 1, 0, 1];
const ANSWER: [u8; 4] = [0x80, 1, 0, 2];
const NAME: &[u8] = b"\0\0\0\x04echo";
const ID_AT: usize = LENGTH + 4 + NAME.len();
/// A struct as field 1 of the arguments; as field 0 of the result.
const ARGUMENT: [u8; 3] = [0x0c, 0, 1];
const RESULT: [u8; 3] = [0x0c, 0, 0];
const HEAD: usize = ID_AT + 4 + 3;

#[derive(Debug)]
pub(crate) struct Thrift {
    head: Vec<u8>,
}

impl Thrift {
    pub(crate) fn new(body: &[u8]) -> Result<Self, String> {
        let length =
            u32::try_from(HEAD - LENGTH + body.len()).map_err(|error| error.to_string())?;
        let head = [
            &length.to_be_bytes()[..],
            &CALL,
            NAME,
            &[0; 4],
            &ARGUMENT[..],
        ];
        Ok(Self {
            head: head.concat(),
        })
    }
}

/// What call and answer have in common after the head: a struct with bytes as field 1, its end,
/// and the end of the struct around it.
pub(crate) fn body_of(payload: &[u8]) -> Result<Vec<u8>, String> {
    let size = u32::try_from(payload.len()).map_err(|error| error.to_string())?;
    Ok([&[0x0b, 0, 1][..], &size.to_be_bytes(), payload, &[0, 0]].concat())
}

impl Wire for Thrift {
    fn head(&self) -> &[u8] {
        &self.head
    }

    fn put_id(&self, head: &mut [u8], id: u64) {
        head[ID_AT..ID_AT + 4].copy_from_slice(&(id as u32).to_be_bytes());
    }

    fn id(slot: usize, version: u32) -> u64 {
        u64::from(version << SLOT_BITS | slot as u32)
    }

    fn slot(id: u64) -> usize {
        (id & ((1 << SLOT_BITS) - 1)) as usize
    }

    fn answer(bytes: &[u8]) -> Result<Cut<'_>, String> {
        let Some(length) = word(bytes, 0) else {
            return Ok(Cut::Part { length: LENGTH });
        };
        let length = checked(u32::from_be_bytes(length) as usize + LENGTH)?;
        let Some(frame) = bytes.get(..length) else {
            return Ok(Cut::Part { length });
        };
        let begins = frame[LENGTH..]
            .strip_prefix(&ANSWER)
            .is_some_and(|rest| rest.starts_with(NAME));
        match (frame.get(ID_AT..ID_AT + 4), frame.get(ID_AT + 4..HEAD)) {
            (Some(&[a, b, c, d]), Some(result)) if begins && result == RESULT => Ok(Cut::Whole {
                id: u32::from_be_bytes([a, b, c, d]).into(),
                outcome: Ok(&frame[HEAD..]),
                length,
            }),
            _ => Err(format!(
                "no result: {}",
                frame[..length.min(60)].escape_ascii()
            )),
        }
    }
}
