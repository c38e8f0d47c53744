//! Types by reflection: for JSON and for people, never on the way of a call.

use bytes::Bytes;
use prost::Message as _;
use prost_reflect::{DescriptorPool, MessageDescriptor};

use crate::schema::check::check;
use crate::schema::set::FileSet;
use crate::schema::{SchemaError, print};

/// One method as its `.proto` declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rpc {
    /// Bare name.
    pub name: String,
    /// Full name of the request's type.
    pub input: String,
    /// Full name of the response's type.
    pub output: String,
    /// Whether the caller may send many requests.
    pub client_streaming: bool,
    /// Whether the server may send many responses.
    pub server_streaming: bool,
}

/// Files, linked.
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
        check(files)?;
        let mut pool = DescriptorPool::new();
        let set = FileSet {
            files: files.to_vec(),
        };
        pool.decode_file_descriptor_set(set.encode_to_vec().as_slice())
            .map_err(|error| SchemaError::Link(error.to_string()))?;
        Ok(Self { pool })
    }

    /// Names of the files, imported ones before those that import them.
    pub fn files(&self) -> impl Iterator<Item = String> {
        self.pool.files().map(|file| file.name().to_owned())
    }

    /// Full names of the services, each with the name of its file.
    pub fn services(&self) -> impl Iterator<Item = (String, String)> {
        self.pool.services().map(|service| {
            let file = service.parent_file().name().to_owned();
            (service.full_name().to_owned(), file)
        })
    }

    /// The methods of a service in the order of their declaration, which is their index.
    ///
    /// # Errors
    /// No file declares the service.
    pub fn methods(&self, service: &str) -> Result<Vec<Rpc>, SchemaError> {
        let service = self
            .pool
            .get_service_by_name(service)
            .ok_or_else(|| SchemaError::NoSymbol(service.to_owned()))?;
        let methods = service.methods().map(|method| Rpc {
            name: method.name().to_owned(),
            input: method.input().full_name().to_owned(),
            output: method.output().full_name().to_owned(),
            client_streaming: method.is_client_streaming(),
            server_streaming: method.is_server_streaming(),
        });
        Ok(methods.collect())
    }

    /// What a full name stands for, or what a file has in it, as `.proto` text.
    ///
    /// # Errors
    /// The name is none of a message, enum, service, method, extension or file.
    pub fn describe(&self, name: &str) -> Result<String, SchemaError> {
        print::print(&self.pool, name).ok_or_else(|| SchemaError::NoSymbol(name.to_owned()))
    }

    pub(super) fn message(&self, name: &str) -> Result<MessageDescriptor, SchemaError> {
        self.pool
            .get_message_by_name(name)
            .ok_or_else(|| SchemaError::NoMessage(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::MessagePool;
    use crate::schema::method::tests::game_files;
    use crate::schema::{SchemaError, ServiceSchema};

    #[test]
    fn a_missing_import_fails_to_link_but_not_to_dispatch() {
        let files = game_files().split_off(1);
        let schema = ServiceSchema::new("game.GameService", files).unwrap();
        assert_eq!(schema.methods().methods().len(), 2);
        assert!(matches!(schema.pool(), Err(SchemaError::Link(_))));
    }

    #[test]
    fn services_and_methods_are_in_order() {
        let pool = MessagePool::link(&game_files()).unwrap();
        let services: Vec<_> = pool.services().collect();
        let (name, file) = (
            "game.GameService".to_owned(),
            "game_service.proto".to_owned(),
        );
        assert_eq!(services, [(name, file)]);
        let methods = pool.methods("game.GameService").unwrap();
        let names: Vec<_> = methods.iter().map(|rpc| rpc.name.as_str()).collect();
        assert_eq!(names, ["connect_server", "leave"]);
        assert!(matches!(
            pool.methods("game.Nobody"),
            Err(SchemaError::NoSymbol(_))
        ));
    }
}
