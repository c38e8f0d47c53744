//! Serialized messages with a few of their fields changed, whatever their types are.

use fastrand::Rng;

/// So deep are messages looked for in messages.
const DEPTH: usize = 12;
/// Numbers at which something may go over an edge.
const EDGES: [u64; 12] = [
    0,
    1,
    2,
    7,
    127,
    18_999,
    (1 << 29) - 1,
    1 << 29,
    i32::MAX as u64,
    1 << 31,
    u64::MAX,
    u64::MAX << 31,
];

/// A field of a message of unknown type.
#[derive(Debug, Clone)]
struct Field {
    number: u64,
    value: Value,
}

#[derive(Debug, Clone)]
enum Value {
    Varint(u64),
    Fixed(u8, Vec<u8>),
    Bytes(Vec<u8>),
    /// Bytes that can be read as a message. Text often can, too.
    Message(Vec<Field>),
}

/// `message` with one to four changes.
pub(crate) fn mutate(message: &[u8], dice: &mut Rng) -> Vec<u8> {
    if dice.u8(..) < 16 {
        return broken(message, dice);
    }
    let mut fields = read(message, DEPTH).unwrap_or_default();
    let other = fields.clone();
    for _ in 0..dice.usize(1..=4) {
        change(&mut fields, &other, dice);
    }
    let mut out = Vec::new();
    write(&fields, &mut out);
    out
}

/// Bytes that are mostly no message any more.
fn broken(message: &[u8], dice: &mut Rng) -> Vec<u8> {
    let mut out = message.to_vec();
    for _ in 0..dice.usize(1..=3) {
        let place = dice.usize(..out.len());
        match dice.u8(..3) {
            0 => out[place] = dice.u8(..),
            1 => out.truncate(place.max(1)),
            _ => out.insert(place, dice.u8(..)),
        }
    }
    out
}

/// Changes a field somewhere: the deeper a message is, the more of them it has in all.
fn change(fields: &mut Vec<Field>, other: &[Field], dice: &mut Rng) {
    if fields.is_empty() {
        return;
    }
    let place = dice.usize(..fields.len());
    let inside = dice.u8(..8) > 0;
    if let Value::Message(inner) = &mut fields[place].value
        && inside
        && !inner.is_empty()
    {
        change(inner, other, dice);
        return;
    }
    match dice.u8(..8) {
        0 => drop(fields.remove(place)),
        1 => {
            let copy = fields[place].clone();
            fields.insert(dice.usize(..=place), copy);
        }
        2 => fields[place].number = dice.u64(1..20),
        3 => {
            let with = dice.usize(..fields.len());
            fields.swap(place, with);
        }
        4 => fields[place].value = Value::Varint(EDGES[dice.usize(..EDGES.len())]),
        5 => {
            let number = dice.u64(1..20);
            let value = Value::Varint(EDGES[dice.usize(..EDGES.len())]);
            fields.push(Field { number, value });
        }
        // Something of another place.
        6 => {
            if let Some(field) = picked(other, dice) {
                fields[place].value = field.value.clone();
            }
        }
        _ => fields[place].value = changed(&fields[place].value, dice),
    }
}

fn picked<'a>(fields: &'a [Field], dice: &mut Rng) -> Option<&'a Field> {
    let field = fields.get(dice.usize(..fields.len().max(1)))?;
    match &field.value {
        Value::Message(inner) if !inner.is_empty() && dice.u8(..6) > 0 => picked(inner, dice),
        _ => Some(field),
    }
}

fn changed(value: &Value, dice: &mut Rng) -> Value {
    match value {
        Value::Varint(number) => Value::Varint(match dice.u8(..3) {
            0 => number.wrapping_add(1),
            1 => number.wrapping_sub(1),
            _ => EDGES[dice.usize(..EDGES.len())],
        }),
        Value::Fixed(kind, bytes) => {
            let mut bytes = bytes.clone();
            bytes.fill(dice.u8(..));
            Value::Fixed(*kind, bytes)
        }
        Value::Bytes(bytes) => Value::Bytes(match dice.u8(..4) {
            0 => Vec::new(),
            1 => bytes[..bytes.len() / 2].to_vec(),
            2 => [b".", bytes.as_slice()].concat(),
            _ => [bytes.as_slice(), &[0xff]].concat(),
        }),
        Value::Message(_) => Value::Bytes(Vec::new()),
    }
}

fn read(mut bytes: &[u8], depth: usize) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let (number, kind) = (tag >> 3, (tag & 7) as u8);
        if number == 0 {
            return None;
        }
        let value = match kind {
            0 => Value::Varint(varint(&mut bytes)?),
            1 => Value::Fixed(1, cut(&mut bytes, 8)?.to_vec()),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let inner = cut(&mut bytes, length)?;
                let fields = (depth > 0 && !inner.is_empty())
                    .then(|| read(inner, depth - 1))
                    .flatten();
                fields.map_or_else(|| Value::Bytes(inner.to_vec()), Value::Message)
            }
            5 => Value::Fixed(5, cut(&mut bytes, 4)?.to_vec()),
            _ => return None,
        };
        fields.push(Field { number, value });
    }
    Some(fields)
}

fn write(fields: &[Field], out: &mut Vec<u8>) {
    for Field { number, value } in fields {
        match value {
            Value::Varint(value) => {
                put(out, number << 3);
                put(out, *value);
            }
            Value::Fixed(kind, bytes) => {
                put(out, number << 3 | u64::from(*kind));
                out.extend(bytes);
            }
            Value::Bytes(bytes) => {
                put(out, number << 3 | 2);
                put(out, bytes.len() as u64);
                out.extend(bytes);
            }
            Value::Message(fields) => {
                let mut inner = Vec::new();
                write(fields, &mut inner);
                put(out, number << 3 | 2);
                put(out, inner.len() as u64);
                out.extend(inner);
            }
        }
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = cut(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn cut<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (front, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(front)
}
