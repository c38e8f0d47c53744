//! Numbers and names that a message or enum sets aside.

use prost_types::{DescriptorProto, EnumDescriptorProto};

/// No field's number is higher; a range that ends here is written with `max`.
const LARGEST_FIELD: i32 = (1 << 29) - 1;

/// `extensions` and `reserved` of a message. The ends of its ranges are not part of them.
pub(super) fn of_message(message: &DescriptorProto) -> Vec<String> {
    let mut lines = Vec::new();
    for range in &message.extension_range {
        let span = span(range.start(), range.end().saturating_sub(1), LARGEST_FIELD);
        lines.push(format!("extensions {span};"));
    }
    let ranges = message
        .reserved_range
        .iter()
        .map(|range| span(range.start(), range.end().saturating_sub(1), LARGEST_FIELD));
    reserved(&mut lines, ranges, &message.reserved_name);
    lines
}

/// `reserved` of an enum. The ends of its ranges are part of them.
pub(super) fn of_enum(kind: &EnumDescriptorProto) -> Vec<String> {
    let mut lines = Vec::new();
    let ranges = kind
        .reserved_range
        .iter()
        .map(|range| span(range.start(), range.end(), i32::MAX));
    reserved(&mut lines, ranges, &kind.reserved_name);
    lines
}

fn reserved(lines: &mut Vec<String>, ranges: impl Iterator<Item = String>, names: &[String]) {
    let ranges: Vec<_> = ranges.collect();
    if !ranges.is_empty() {
        lines.push(format!("reserved {};", ranges.join(", ")));
    }
    if !names.is_empty() {
        let names: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
        lines.push(format!("reserved {};", names.join(", ")));
    }
}

fn span(first: i32, last: i32, largest: i32) -> String {
    match (first, last) {
        (first, last) if first == last => first.to_string(),
        (first, last) if last >= largest => format!("{first} to max"),
        (first, last) => format!("{first} to {last}"),
    }
}
