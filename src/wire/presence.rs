//! Whether a serialized message has certain fields, from its bytes alone.

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// Tags of fields: number and wire type, as protobuf writes them before a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags(Vec<u64>);

/// The most tags that are looked for, a bit each.
const MOST_TAGS: usize = 64;

impl From<Vec<u64>> for Tags {
    fn from(tags: Vec<u64>) -> Self {
        Self(tags)
    }
}

impl Tags {
    /// Whether `message` has a field with each of the tags. Also false for what is not plain, such
    /// as groups, and for what is no message.
    #[must_use]
    pub fn are_in(&self, message: &[u8]) -> bool {
        self.0.len() <= MOST_TAGS && self.look(message).unwrap_or(false)
    }

    fn look(&self, mut message: &[u8]) -> Option<bool> {
        let mut missing = u64::MAX
            .checked_shr(64 - u32::try_from(self.0.len()).ok()?)
            .unwrap_or(0);
        while missing != 0 {
            if message.is_empty() {
                return Some(false);
            }
            let tag = varint(&mut message)?;
            if let Some(place) = self.0.iter().position(|&wanted| wanted == tag) {
                missing &= !(1 << place);
            }
            let length = match tag & 7 {
                VARINT => {
                    varint(&mut message)?;
                    0
                }
                FIXED64 => 8,
                BYTES => usize::try_from(varint(&mut message)?).ok()?,
                FIXED32 => 4,
                _ => return None,
            };
            message = message.get(length..)?;
        }
        Some(true)
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for (place, &byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            *bytes = bytes.get(place + 1..)?;
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tag_must_be_there_with_its_wire_type() {
        // 1: varint, 2: bytes, 17: fixed32
        let tags = Tags::from(vec![1 << 3, 2 << 3 | 2, 17 << 3 | 5]);
        let (one, two, other) = (
            &b"\x08\x96\x01"[..],
            &b"\x12\x02ab"[..],
            &b"\x1a\x01\x08"[..],
        );
        let seventeen = &b"\x8d\x01abcd"[..];
        let all = [seventeen, other, two, one].concat();
        assert!(tags.are_in(&all));
        // What follows the last one is not looked at: the parser does that.
        assert!(tags.are_in(&[&all[..], b"\x0b"].concat()));
        for part in [one, two, seventeen] {
            let rest: Vec<&[u8]> = [seventeen, other, two, one]
                .into_iter()
                .filter(|other| *other != part)
                .collect();
            assert!(!tags.are_in(&rest.concat()));
        }
        // Field 1 as bytes is an unknown field.
        assert!(!tags.are_in(&[b"\x0a\x01\x00", two, seventeen].concat()));
    }

    #[test]
    fn what_is_cut_off_or_not_plain_is_not_there() {
        let tags = Tags::from(vec![2 << 3 | 2]);
        for message in [
            &b""[..],
            b"\x12",
            b"\x12\x03ab",
            b"\x0b\x0c\x12\x00",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x09\0\0",
        ] {
            assert!(!tags.are_in(message), "{message:?}");
        }
        assert!(Tags::from(Vec::new()).are_in(b"\x0b"));
        let all: Vec<u64> = (1..=64).map(|number| number << 3).collect();
        assert!(!Tags::from(all).are_in(b""));
        let many = vec![8; 65];
        assert!(!Tags::from(many).are_in(b"\x08\0"));
    }
}
