//! As much of protobuf's encoding as the metas of `baidu_std` need, written apart from the
//! library: an echo server that used its codec would share its mistakes and its costs.

/// A field's value, where it is a number or has a length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A varint.
    Number(u64),
    /// Bytes, text, or a message.
    Bytes(&'a [u8]),
    /// Four or eight bytes, which no meta has a use for.
    Fixed,
}

/// Calls `each` with every field of a message; `None` when the bytes are no message.
pub fn fields<'a>(mut bytes: &'a [u8], mut each: impl FnMut(u64, Value<'a>)) -> Option<()> {
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut bytes)?),
            1 => skip(&mut bytes, 8)?,
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (value, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                Value::Bytes(value)
            }
            5 => skip(&mut bytes, 4)?,
            _ => return None,
        };
        each(key >> 3, value);
    }
    Some(())
}

/// The seven bits that go into a varint's next byte.
#[must_use]
pub fn low_bits(number: u64) -> u8 {
    (number & 0x7f) as u8
}

fn skip<'a>(bytes: &mut &'a [u8], count: usize) -> Option<Value<'a>> {
    *bytes = bytes.get(count..)?;
    Some(Value::Fixed)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for (place, byte) in bytes.iter().take(10).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            *bytes = &bytes[place + 1..];
            return Some(number);
        }
    }
    None
}
