//! What is wrong with a file and is not noticed when it is linked: there the pool says nothing, or
//! panics, or panics later.

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto};

use crate::schema::SchemaError;

/// Checks the serialized file at `place` in a list.
pub(super) fn check(place: usize, file: &[u8]) -> Result<(), SchemaError> {
    let file = FileDescriptorProto::decode(file)
        .map_err(|error| SchemaError::Link(format!("file {place} does not parse: {error}")))?;
    match file.syntax.as_deref() {
        None | Some("proto2" | "proto3") => {}
        Some("editions") => return Err(SchemaError::Editions(file.name().to_owned())),
        Some(other) => {
            let text = format!("{:?} has the unknown syntax {other:?}", file.name());
            return Err(SchemaError::Link(text));
        }
    }
    match broken_map(&file.message_type) {
        None => Ok(()),
        Some(entry) => {
            let text = format!("in {:?}, {entry:?} is no entry of a map", file.name());
            Err(SchemaError::Link(text))
        }
    }
}

/// The name of a message that is marked as the entry of a map and is none.
fn broken_map(messages: &[DescriptorProto]) -> Option<&str> {
    messages.iter().find_map(|message| {
        let marked = message
            .options
            .as_ref()
            .is_some_and(|options| options.map_entry());
        if marked && !is_entry(message) {
            return Some(message.name());
        }
        broken_map(&message.nested_type)
    })
}

fn is_entry(message: &DescriptorProto) -> bool {
    let [one, other] = message.field.as_slice() else {
        return false;
    };
    let (key, value) = if one.number() == 1 {
        (one, other)
    } else {
        (other, one)
    };
    let single = |field: &FieldDescriptorProto| field.label() != Label::Repeated;
    (key.number(), value.number()) == (1, 2)
        && (key.name(), value.name()) == ("key", "value")
        && single(key)
        && single(value)
        && !matches!(
            key.r#type(),
            Type::Double | Type::Float | Type::Bytes | Type::Enum | Type::Message | Type::Group
        )
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::field_descriptor_proto::Type;
    use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, MessageOptions};

    use crate::schema::{MessagePool, SchemaError};

    fn refused(file: &FileDescriptorProto) -> SchemaError {
        MessagePool::link(&[file.encode_to_vec().into()]).unwrap_err()
    }

    #[test]
    fn an_unknown_syntax() {
        let with_syntax = |syntax: &str| {
            refused(&FileDescriptorProto {
                name: Some("new.proto".to_owned()),
                syntax: Some(syntax.to_owned()),
                ..FileDescriptorProto::default()
            })
        };
        assert_eq!(
            with_syntax("editions"),
            SchemaError::Editions("new.proto".to_owned())
        );
        for syntax in ["proto4", "", "\u{1b}"] {
            let text = with_syntax(syntax).to_string();
            let wanted = format!("\"new.proto\" has the unknown syntax {syntax:?}");
            assert!(text.ends_with(&wanted), "{text}");
        }
    }

    #[test]
    fn bytes_that_are_no_file() {
        let good = FileDescriptorProto::default().encode_to_vec();
        let text = MessagePool::link(&[good.into(), b"\x0a\x7f".as_slice().into()])
            .unwrap_err()
            .to_string();
        assert!(text.contains("file 1 does not parse"), "{text}");
    }

    #[test]
    fn entries_of_maps() {
        let field = |name: &str, number: i32, kind: Type| FieldDescriptorProto {
            name: Some(name.to_owned()),
            number: Some(number),
            r#type: Some(kind.into()),
            ..FieldDescriptorProto::default()
        };
        let file = |field: Vec<FieldDescriptorProto>| FileDescriptorProto {
            name: Some("a.proto".to_owned()),
            message_type: vec![DescriptorProto {
                name: Some("Entry".to_owned()),
                field,
                options: Some(MessageOptions {
                    map_entry: Some(true),
                    ..MessageOptions::default()
                }),
                ..DescriptorProto::default()
            }],
            ..FileDescriptorProto::default()
        };
        let (key, value) = (field("key", 1, Type::Bool), field("value", 2, Type::Bytes));
        let good = file(vec![value.clone(), key.clone()]);
        assert!(MessagePool::link(&[good.encode_to_vec().into()]).is_ok());
        for fields in [
            vec![],
            vec![key.clone()],
            vec![key.clone(), field("value", 3, Type::Bytes)],
            vec![key.clone(), value.clone(), field("more", 3, Type::Bool)],
            vec![field("key", 1, Type::Double), value],
        ] {
            let text = refused(&file(fields)).to_string();
            assert!(text.ends_with("\"Entry\" is no entry of a map"), "{text}");
        }
    }
}
