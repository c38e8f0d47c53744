//! Options as `.proto` text, those of extensions included.

use prost_reflect::{DynamicMessage, Kind, ReflectMessage as _, Value};

/// Options as statements, `option deprecated = true;`.
pub(super) fn statements(options: &DynamicMessage) -> Vec<String> {
    let pairs = pairs(options);
    pairs.iter().map(|pair| format!("option {pair};")).collect()
}

/// Options behind a declaration, ` [default = 3, deprecated = true]`; nothing where there are none.
pub(super) fn inline(
    default: Option<(&str, Kind)>,
    json_name: Option<&str>,
    options: &DynamicMessage,
) -> String {
    let mut all = Vec::new();
    if let Some((value, kind)) = default {
        let value = match kind {
            Kind::String => quoted(value.as_bytes()),
            // A descriptor has these escaped already.
            Kind::Bytes => format!("\"{value}\""),
            _ => value.to_owned(),
        };
        all.push(format!("default = {value}"));
    }
    if let Some(name) = json_name {
        all.push(format!("json_name = {}", quoted(name.as_bytes())));
    }
    all.extend(pairs(options));
    if all.is_empty() {
        String::new()
    } else {
        format!(" [{}]", all.join(", "))
    }
}

fn pairs(options: &DynamicMessage) -> Vec<String> {
    let entry = options.descriptor().full_name() == "google.protobuf.MessageOptions";
    let mut pairs = Vec::new();
    for (field, value) in options.fields() {
        // What a map is made of; the map says it.
        if !(entry && field.name() == "map_entry") {
            push(&mut pairs, field.name(), &field.kind(), value);
        }
    }
    for (extension, value) in options.extensions() {
        let name = format!("({})", extension.full_name());
        push(&mut pairs, &name, &extension.kind(), value);
    }
    pairs
}

fn push(pairs: &mut Vec<String>, name: &str, kind: &Kind, value: &Value) {
    if let Value::List(values) = value {
        for value in values {
            push(pairs, name, kind, value);
        }
    } else {
        pairs.push(format!("{name} = {}", shown(kind, value)));
    }
}

fn shown(kind: &Kind, value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::I32(value) => value.to_string(),
        Value::I64(value) => value.to_string(),
        Value::U32(value) => value.to_string(),
        Value::U64(value) => value.to_string(),
        Value::F32(value) => value.to_string(),
        Value::F64(value) => value.to_string(),
        Value::String(value) => quoted(value.as_bytes()),
        Value::Bytes(value) => quoted(value),
        Value::EnumNumber(number) => kind
            .as_enum()
            .and_then(|kind| kind.get_value(*number))
            .map_or_else(|| number.to_string(), |value| value.name().to_owned()),
        Value::Message(message) => format!("{{ {} }}", message.to_text_format()),
        // Both are taken apart by whoever asks.
        Value::List(_) | Value::Map(_) => String::new(),
    }
}

fn quoted(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(char::is_control) => {
            format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
        }
        _ => format!("\"{}\"", bytes.escape_ascii()),
    }
}

/// A JSON name that is not the one which the field has by itself.
pub(super) fn explicit_json_name<'a>(name: &str, json: &'a str) -> Option<&'a str> {
    let mut usual = String::new();
    let mut upper = false;
    for letter in name.chars() {
        if letter == '_' {
            upper = true;
        } else if upper {
            usual.push(letter.to_ascii_uppercase());
            upper = false;
        } else {
            usual.push(letter);
        }
    }
    (!json.is_empty() && json != usual).then_some(json)
}
