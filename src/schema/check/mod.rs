//! What is wrong with files and is not noticed when they are linked: there the pool says nothing, or
//! panics, or panics later.

mod imports;
mod maps;
mod names;

use bytes::Bytes;
use prost::Message as _;
use prost_types::FileDescriptorProto;

use crate::schema::SchemaError;

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
        if let Some(name) = names::wrong(file) {
            let text = format!("in {:?}, {name:?} is no name", file.name());
            return Err(SchemaError::Link(text));
        }
        if let Some(entry) = maps::broken(&file.message_type) {
            let text = format!("in {:?}, {entry:?} is no entry of a map", file.name());
            return Err(SchemaError::Link(text));
        }
    }
    if let Some(name) = imports::entangled(&files) {
        let text = format!("the public imports of {name:?} go in a circle, or in too many ways");
        return Err(SchemaError::Link(text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::FileDescriptorProto;

    use crate::schema::{MessagePool, SchemaError};

    pub(super) fn refused(file: &FileDescriptorProto) -> SchemaError {
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
}
