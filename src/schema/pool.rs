//! Message types by reflection: for JSON and for people, never on the way of a call.

use bytes::Bytes;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use prost_types::FileDescriptorProto;

use crate::schema::SchemaError;

/// The linked message types of one service.
#[derive(Debug)]
pub struct MessagePool {
    pool: DescriptorPool,
}

impl MessagePool {
    /// Links serialized `FileDescriptorProto`s.
    ///
    /// # Errors
    /// A file does not parse, an import is missing, or a file uses editions.
    pub fn link(files: &[Bytes]) -> Result<Self, SchemaError> {
        let files = files
            .iter()
            .map(|bytes| FileDescriptorProto::decode(bytes.as_ref()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| SchemaError::Link(error.to_string()))?;
        let mut pool = DescriptorPool::new();
        pool.add_file_descriptor_protos(files)
            .map_err(|error| SchemaError::Link(error.to_string()))?;
        Ok(Self { pool })
    }

    /// A serialized message of type `name` (full name) as JSON, in protobuf's mapping.
    ///
    /// # Errors
    /// No such type, or the bytes are no message of it.
    pub fn to_json(&self, name: &str, body: &[u8]) -> Result<String, SchemaError> {
        let descriptor = self
            .pool
            .get_message_by_name(name)
            .ok_or_else(|| SchemaError::NoMessage(name.to_owned()))?;
        let refused = |reason: String| SchemaError::Message {
            message: name.to_owned(),
            reason,
        };
        let message =
            DynamicMessage::decode(descriptor, body).map_err(|error| refused(error.to_string()))?;
        let mut json = serde_json::Serializer::new(Vec::new());
        message
            .serialize_with_options(&mut json, &SerializeOptions::new())
            .map_err(|error| refused(error.to_string()))?;
        String::from_utf8(json.into_inner()).map_err(|error| refused(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use crate::schema::method::tests::game_files;
    use crate::schema::{SchemaError, ServiceSchema};

    #[test]
    fn json_is_made_from_the_bytes_the_table_was_made_from() {
        let schema = ServiceSchema::new("game.GameService", game_files()).unwrap();
        let pool = schema.pool().unwrap();
        assert_eq!(
            pool.to_json("game.RequestMessage", b"\n\x03ada").unwrap(),
            r#"{"message":"ada"}"#
        );
        assert!(matches!(
            pool.to_json("game.Nothing", b""),
            Err(SchemaError::NoMessage(_))
        ));
        assert!(matches!(
            pool.to_json("game.RequestMessage", b"\n\x09ada"),
            Err(SchemaError::Message { .. })
        ));
    }

    #[test]
    fn a_missing_import_fails_to_link_but_not_to_dispatch() {
        let files = game_files().split_off(1);
        let schema = ServiceSchema::new("game.GameService", files).unwrap();
        assert_eq!(schema.methods().methods().len(), 2);
        assert!(matches!(schema.pool(), Err(SchemaError::Link(_))));
    }
}
