//! Names of declarations.

use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
    FileDescriptorProto, MethodDescriptorProto, OneofDescriptorProto, ServiceDescriptorProto,
};

/// The first name of something in a file that no `.proto` file could give it.
pub(super) fn wrong(file: &FileDescriptorProto) -> Option<&str> {
    let package = file.package();
    if !(package.is_empty() || package.split('.').all(is_name)) {
        return Some(package);
    }
    let mut messages = file.message_type.iter().filter_map(of_message);
    let mut enums = file.enum_type.iter().filter_map(of_enum);
    let mut services = file.service.iter().filter_map(of_service);
    let mut extensions = file.extension.iter().map(FieldDescriptorProto::name);
    messages
        .next()
        .or_else(|| enums.next())
        .or_else(|| services.next())
        .or_else(|| extensions.find(|name| !is_name(name)))
}

fn of_message(message: &DescriptorProto) -> Option<&str> {
    let fields = message.field.iter().chain(&message.extension);
    let mut own = std::iter::once(message.name())
        .chain(fields.map(FieldDescriptorProto::name))
        .chain(message.oneof_decl.iter().map(OneofDescriptorProto::name));
    own.find(|name| !is_name(name))
        .or_else(|| message.nested_type.iter().find_map(of_message))
        .or_else(|| message.enum_type.iter().find_map(of_enum))
}

fn of_enum(kind: &EnumDescriptorProto) -> Option<&str> {
    let values = kind.value.iter().map(EnumValueDescriptorProto::name);
    std::iter::once(kind.name())
        .chain(values)
        .find(|name| !is_name(name))
}

fn of_service(service: &ServiceDescriptorProto) -> Option<&str> {
    let methods = service.method.iter().map(MethodDescriptorProto::name);
    std::iter::once(service.name())
        .chain(methods)
        .find(|name| !is_name(name))
}

fn is_name(text: &str) -> bool {
    let of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.chars().all(of_name) && text.starts_with(|c: char| !c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto};

    use super::is_name;
    use crate::schema::check::tests::refused;

    #[test]
    fn what_is_a_name() {
        for name in ["a", "_", "A9_b"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "9a", "a.b", ".a", "a b", "\u{e4}", "a\u{1b}"] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn files_with_other_names() {
        let named = |package: &str, field: &str| FileDescriptorProto {
            name: Some("a.proto".to_owned()),
            package: Some(package.to_owned()),
            message_type: vec![DescriptorProto {
                name: Some("A".to_owned()),
                extension: vec![FieldDescriptorProto {
                    name: Some(field.to_owned()),
                    ..FieldDescriptorProto::default()
                }],
                ..DescriptorProto::default()
            }],
            ..FileDescriptorProto::default()
        };
        for (file, wrong) in [(named("a..b", "c"), "a..b"), (named("a.b", "c.d"), "c.d")] {
            let text = refused(&file).to_string();
            assert!(text.ends_with(&format!("{wrong:?} is no name")), "{text}");
        }
    }
}
