//! What is wrong with a file and is not noticed when it is linked: there the pool says nothing, or
//! panics, or panics later.

use bytes::Bytes;
use foldhash::{HashMap, HashSet};
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto};

use crate::schema::SchemaError;

/// Ways that lead from a file over public imports: the pool goes them all, one inside the other.
const MOST_WAYS: usize = 10_000;

/// Checks serialized files that are to be linked.
pub(super) fn check(files: &[Bytes]) -> Result<(), SchemaError> {
    let read = |(place, file): (usize, &Bytes)| {
        FileDescriptorProto::decode(file.as_ref())
            .map_err(|error| SchemaError::Link(format!("file {place} does not parse: {error}")))
    };
    let files: Vec<_> = files
        .iter()
        .enumerate()
        .map(read)
        .collect::<Result<_, _>>()?;
    for file in &files {
        match file.syntax.as_deref() {
            None | Some("proto2" | "proto3") => {}
            Some("editions") => return Err(SchemaError::Editions(file.name().to_owned())),
            Some(other) => {
                let text = format!("{:?} has the unknown syntax {other:?}", file.name());
                return Err(SchemaError::Link(text));
            }
        }
        if let Some(entry) = broken_map(&file.message_type) {
            let text = format!("in {:?}, {entry:?} is no entry of a map", file.name());
            return Err(SchemaError::Link(text));
        }
    }
    if let Some(name) = entangled(&files) {
        let text = format!("the public imports of {name:?} go in a circle, or in too many ways");
        return Err(SchemaError::Link(text));
    }
    Ok(())
}

/// The name of a file from which public imports lead back to it, or in very many ways elsewhere.
fn entangled(files: &[FileDescriptorProto]) -> Option<&str> {
    let mut places = HashMap::default();
    for (place, file) in files.iter().enumerate() {
        // Two of one name are refused by the pool.
        places.entry(file.name()).or_insert(place);
    }
    let mut importers: Vec<Vec<usize>> = vec![Vec::new(); files.len()];
    let mut left = vec![0_usize; files.len()];
    for (place, file) in files.iter().enumerate() {
        let public: HashSet<_> = file.public_dependency.iter().collect();
        for (number, name) in (0_i32..).zip(&file.dependency) {
            let imported = places
                .get(name.as_str())
                .and_then(|at| importers.get_mut(*at));
            if let (true, Some(importers)) = (public.contains(&number), imported) {
                importers.push(place);
                *left.get_mut(place)? += 1;
            }
        }
    }
    // From the files that import nothing to those that import them: what is in a circle stays.
    let mut ways = vec![1_usize; files.len()];
    let mut free: Vec<_> = (0..files.len())
        .filter(|at| left.get(*at) == Some(&0))
        .collect();
    while let Some(at) = free.pop() {
        let of_it = *ways.get(at)?;
        for &importer in importers.get(at)? {
            let (ways, left) = (ways.get_mut(importer)?, left.get_mut(importer)?);
            *ways = ways.saturating_add(of_it);
            *left -= 1;
            if *left == 0 {
                free.push(importer);
            }
        }
    }
    let mut all = files.iter().zip(ways.iter().zip(&left));
    all.find(|(_, (ways, left))| **left > 0 || **ways > MOST_WAYS)
        .map(|(file, _)| file.name())
}

/// The name of a message that is marked as the entry of a map and is none.
fn broken_map(messages: &[DescriptorProto]) -> Option<&str> {
    messages.iter().find_map(|message| {
        let marked = message
            .options
            .as_ref()
            .is_some_and(prost_types::MessageOptions::map_entry);
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

    #[test]
    fn imports_without_end() {
        let file = |name: &str, imports: &[&str]| {
            let file = FileDescriptorProto {
                name: Some(name.to_owned()),
                dependency: imports.iter().map(|&name| name.to_owned()).collect(),
                public_dependency: (0_i32..).take(imports.len()).collect(),
                ..FileDescriptorProto::default()
            };
            file.encode_to_vec().into()
        };
        let good = [file("a", &["b", "c"]), file("b", &["c"]), file("c", &[])];
        assert!(MessagePool::link(&good).is_ok());
        for files in [
            vec![file("a", &["a", "a"])],
            vec![file("a", &["b", "c"]), file("b", &["a"]), file("c", &["a"])],
        ] {
            let text = MessagePool::link(&files).unwrap_err().to_string();
            assert!(text.contains("public imports of \"a\""), "{text}");
        }
        // Two ways from each to the next one are more than anybody can go.
        let names: Vec<_> = (0..60).map(|number| number.to_string()).collect();
        let ladder: Vec<_> = names
            .windows(2)
            .map(|pair| file(&pair[0], &[&pair[1], &pair[1]]))
            .chain([file("59", &[])])
            .collect();
        let text = MessagePool::link(&ladder).unwrap_err().to_string();
        assert!(text.contains("too many ways"), "{text}");
        let names: Vec<_> = (0..20_000).map(|number| number.to_string()).collect();
        let chain: Vec<_> = names
            .windows(2)
            .map(|pair| file(&pair[0], &[&pair[1]]))
            .collect();
        assert!(MessagePool::link(&chain).is_err());
    }
}
