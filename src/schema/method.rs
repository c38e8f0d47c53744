//! The method table: what an index or a name on the wire stands for.

use bytes::Bytes;
use foldhash::HashMap;
use prost::Message as _;
use prost_types::{FileDescriptorProto, MethodDescriptorProto};

use crate::schema::SchemaError;

/// One method of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method {
    /// Bare name, `connect_server`.
    pub name: String,
    /// Full name, `game.GameService.connect_server`.
    pub full_name: String,
    /// Full name of the request's message type.
    pub input_type: String,
    /// Full name of the response's message type.
    pub output_type: String,
}

/// The methods of one service in the order of their declaration, which is their index.
#[derive(Debug, Clone)]
pub struct MethodTable {
    service: String,
    methods: Vec<Method>,
    by_name: HashMap<Vec<u8>, usize>,
}

impl MethodTable {
    /// Finds `service` (full name) among serialized `FileDescriptorProto`s.
    ///
    /// # Errors
    /// A file does not parse, or none declares the service.
    pub fn decode(service: &str, files: &[Bytes]) -> Result<Self, SchemaError> {
        for (position, bytes) in files.iter().enumerate() {
            let file =
                FileDescriptorProto::decode(bytes.as_ref()).map_err(|error| SchemaError::File {
                    service: service.to_owned(),
                    position,
                    reason: error.to_string(),
                })?;
            let package = file.package();
            for declared in &file.service {
                if qualified(package, declared.name()) == service {
                    return Ok(Self::new(service, &declared.method));
                }
            }
        }
        Err(SchemaError::NoService {
            service: service.to_owned(),
            files: files.len(),
        })
    }

    fn new(service: &str, declared: &[MethodDescriptorProto]) -> Self {
        let methods: Vec<Method> = declared
            .iter()
            .map(|method| Method {
                name: method.name().to_owned(),
                full_name: qualified(service, method.name()),
                input_type: method.input_type().trim_start_matches('.').to_owned(),
                output_type: method.output_type().trim_start_matches('.').to_owned(),
            })
            .collect();
        let by_name = methods
            .iter()
            .enumerate()
            .map(|(index, method)| (method.name.clone().into_bytes(), index))
            .collect();
        Self {
            service: service.to_owned(),
            methods,
            by_name,
        }
    }

    /// Full name of the service.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    /// All methods; a method's index is its place.
    #[must_use]
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// The method that an index on the wire names.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<&Method> {
        self.methods.get(usize::try_from(index).ok()?)
    }

    /// The index of the method with this bare name.
    #[must_use]
    pub fn index_of(&self, name: impl AsRef<[u8]>) -> Option<usize> {
        self.by_name.get(name.as_ref()).copied()
    }
}

fn qualified(scope: &str, name: &str) -> String {
    if scope.is_empty() {
        name.to_owned()
    } else {
        format!("{scope}.{name}")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use prost_types::{DescriptorProto, FieldDescriptorProto, ServiceDescriptorProto};

    fn message(name: &str) -> DescriptorProto {
        DescriptorProto {
            name: Some(name.to_owned()),
            field: vec![FieldDescriptorProto {
                name: Some("message".to_owned()),
                number: Some(1),
                label: Some(2),
                r#type: Some(9),
                ..FieldDescriptorProto::default()
            }],
            ..DescriptorProto::default()
        }
    }

    /// `common.proto` and `game_service.proto` as a generated module carries them.
    pub(crate) fn game_files() -> Vec<Bytes> {
        files("game", "GameService")
    }

    /// The same for a service of another name.
    pub(crate) fn files(package: &str, service: &str) -> Vec<Bytes> {
        let common = FileDescriptorProto {
            name: Some("common.proto".to_owned()),
            package: Some(package.to_owned()),
            message_type: vec![message("RequestMessage"), message("ResponseMessage")],
            ..FileDescriptorProto::default()
        };
        let method = |name: &str| MethodDescriptorProto {
            name: Some(name.to_owned()),
            input_type: Some(format!(".{package}.RequestMessage")),
            output_type: Some(format!(".{package}.ResponseMessage")),
            ..MethodDescriptorProto::default()
        };
        let service = FileDescriptorProto {
            name: Some("game_service.proto".to_owned()),
            package: Some(package.to_owned()),
            dependency: vec!["common.proto".to_owned()],
            service: vec![ServiceDescriptorProto {
                name: Some(service.to_owned()),
                method: vec![method("connect_server"), method("leave")],
                ..ServiceDescriptorProto::default()
            }],
            ..FileDescriptorProto::default()
        };
        [common, service]
            .iter()
            .map(|file| file.encode_to_vec().into())
            .collect()
    }

    #[test]
    fn order_names_and_types_come_from_the_descriptor() {
        let table = MethodTable::decode("game.GameService", &game_files()).unwrap();
        assert_eq!(table.service(), "game.GameService");
        assert_eq!(table.methods().len(), 2);
        let leave = table.get(1).unwrap();
        assert_eq!(leave.full_name, "game.GameService.leave");
        assert_eq!(leave.input_type, "game.RequestMessage");
        assert_eq!(leave.output_type, "game.ResponseMessage");
        assert_eq!(table.index_of("leave"), Some(1));
        assert_eq!(table.get(2), None);
        assert_eq!(table.get(u32::MAX), None);
        assert_eq!(table.index_of("missing"), None);
    }

    #[test]
    fn an_unknown_service_is_named() {
        let error = MethodTable::decode("GameService", &game_files()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "none of the 2 files declares the service GameService"
        );
    }

    #[test]
    fn garbage_is_refused_with_its_place() {
        let mut files = game_files();
        files.insert(1, Bytes::from_static(b"\xff\xff"));
        let error = MethodTable::decode("game.GameService", &files).unwrap_err();
        assert!(
            matches!(error, SchemaError::File { position: 1, .. }),
            "{error}"
        );
    }
}
