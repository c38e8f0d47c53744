//! Messages as JSON and back, in protobuf's own mapping.

use prost::Message as _;
use prost_reflect::{
    DeserializeOptions, DynamicMessage, FieldDescriptor, MessageDescriptor, ReflectMessage as _,
    SerializeOptions, Value,
};

use crate::schema::{MessagePool, SchemaError};

impl MessagePool {
    /// A serialized message of type `name` (full name) as JSON.
    ///
    /// # Errors
    /// No such type, or the bytes are no message of it.
    pub fn to_json(&self, name: &str, body: &[u8]) -> Result<String, SchemaError> {
        let refused = |reason: String| SchemaError::Message {
            message: name.to_owned(),
            reason,
        };
        let message = DynamicMessage::decode(self.message(name)?, body)
            .map_err(|error| refused(error.to_string()))?;
        let mut json = serde_json::Serializer::new(Vec::new());
        message
            .serialize_with_options(&mut json, &SerializeOptions::new())
            .map_err(|error| refused(error.to_string()))?;
        String::from_utf8(json.into_inner()).map_err(|error| refused(error.to_string()))
    }

    /// The bytes of a message of type `name` (full name) that is given as JSON.
    ///
    /// # Errors
    /// No such type; the text is no JSON; it names a field that the type does not have, or has a
    /// value that the field cannot have; a required field is missing.
    pub fn parse_json(&self, name: &str, json: &str) -> Result<Vec<u8>, SchemaError> {
        let refused = |reason: String| SchemaError::Json {
            message: name.to_owned(),
            reason,
        };
        let mut reader = serde_json::Deserializer::from_str(json);
        let options = DeserializeOptions::new().deny_unknown_fields(true);
        let message =
            DynamicMessage::deserialize_with_options(self.message(name)?, &mut reader, &options)
                .map_err(|error| refused(error.to_string()))?;
        reader.end().map_err(|error| refused(error.to_string()))?;
        let mut missing = Vec::new();
        find_missing(&message, "", &mut missing);
        if !missing.is_empty() {
            let fields = missing.join(", ");
            return Err(refused(format!("{name} requires {fields}")));
        }
        Ok(message.encode_to_vec())
    }
}

/// Appends the paths of required fields that `message` and the messages in it lack.
fn find_missing(message: &DynamicMessage, path: &str, missing: &mut Vec<String>) {
    let descriptor: MessageDescriptor = message.descriptor();
    for field in descriptor.fields().filter(FieldDescriptor::is_required) {
        if !message.has_field(&field) {
            missing.push(format!("{path}{}", field.name()));
        }
    }
    for (field, value) in message.fields() {
        let name = field.name();
        match value {
            Value::Message(inner) => find_missing(inner, &format!("{path}{name}."), missing),
            Value::List(values) => {
                for (place, value) in values.iter().enumerate() {
                    if let Value::Message(inner) = value {
                        find_missing(inner, &format!("{path}{name}[{place}]."), missing);
                    }
                }
            }
            Value::Map(values) => {
                for (key, value) in values {
                    if let Value::Message(inner) = value {
                        find_missing(inner, &format!("{path}{name}[{key:?}]."), missing);
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::schema::method::tests::game_files;
    use crate::schema::{MessagePool, SchemaError};

    const MESSAGE: &str = "game.RequestMessage";

    fn refused(json: &str) -> String {
        let pool = MessagePool::link(&game_files()).unwrap();
        pool.parse_json(MESSAGE, json).unwrap_err().to_string()
    }

    #[test]
    fn json_is_made_from_the_bytes_the_table_was_made_from() {
        let pool = MessagePool::link(&game_files()).unwrap();
        assert_eq!(
            pool.to_json(MESSAGE, b"\n\x03ada").unwrap(),
            r#"{"message":"ada"}"#
        );
        assert!(matches!(
            pool.to_json("game.Nothing", b""),
            Err(SchemaError::NoMessage(_))
        ));
        assert!(matches!(
            pool.to_json(MESSAGE, b"\n\x09ada"),
            Err(SchemaError::Message { .. })
        ));
    }

    #[test]
    fn json_becomes_bytes() {
        let pool = MessagePool::link(&game_files()).unwrap();
        assert_eq!(
            pool.parse_json(MESSAGE, r#"{"message": "ada"}"#).unwrap(),
            b"\n\x03ada"
        );
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        assert_eq!(refused("{}"), "game.RequestMessage requires message");
        assert!(refused("{").contains("line 1 column 1"), "{}", refused("{"));
        let unknown = refused(r#"{"massage": "ada"}"#);
        assert!(unknown.contains("massage"), "{unknown}");
        let wrong = refused(r#"{"message": 7}"#);
        assert!(wrong.contains("string"), "{wrong}");
        let more = refused(r#"{"message": "ada"} {}"#);
        assert!(more.contains("trailing"), "{more}");
    }
}
