//! Messages that are marked as entries of maps.

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto};

/// The name of a message that is marked as the entry of a map and is none.
pub(super) fn broken(messages: &[DescriptorProto]) -> Option<&str> {
    messages.iter().find_map(|message| {
        let marked = message
            .options
            .as_ref()
            .is_some_and(prost_types::MessageOptions::map_entry);
        if marked && !is_entry(message) {
            return Some(message.name());
        }
        broken(&message.nested_type)
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

    use crate::schema::MessagePool;
    use crate::schema::check::tests::refused;

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
