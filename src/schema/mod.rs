//! Descriptors: which methods a service has, in what order, of what types.
//!
//! The input is what every generated module carries: the serialized `FileDescriptorProto` of the
//! service's file and of all files it imports.

mod check;
mod compile;
mod error;
mod json;
pub(crate) mod method;
mod pool;
mod print;
mod set;

pub use compile::{CompileError, Compiled, Place, compile};
pub use error::SchemaError;
pub use method::{Method, MethodTable};
pub use pool::{MessagePool, Rpc};
pub use set::split_set;

use std::sync::OnceLock;

use bytes::Bytes;

/// One service as its own files describe it.
#[derive(Debug)]
pub struct ServiceSchema {
    files: Vec<Bytes>,
    methods: MethodTable,
    pool: OnceLock<Result<MessagePool, SchemaError>>,
}

impl ServiceSchema {
    /// Reads the methods of `service` (full name) out of serialized `FileDescriptorProto`s,
    /// imported files before those that import them.
    ///
    /// # Errors
    /// A file does not parse, or none declares the service.
    pub fn new(service: &str, files: Vec<Bytes>) -> Result<Self, SchemaError> {
        let methods = MethodTable::decode(service, &files)?;
        Ok(Self {
            files,
            methods,
            pool: OnceLock::new(),
        })
    }

    /// Names, order and types of the service's methods.
    #[must_use]
    pub fn methods(&self) -> &MethodTable {
        &self.methods
    }

    /// The message types of the service, linked from the same bytes on first need.
    ///
    /// A pool belongs to one service: two services may each bring their own `common.proto`.
    /// Binary dispatch never asks for it, since linking refuses files that use editions.
    ///
    /// # Errors
    /// The files do not link, or one of them uses editions.
    pub fn pool(&self) -> Result<&MessagePool, SchemaError> {
        self.pool
            .get_or_init(|| MessagePool::link(&self.files))
            .as_ref()
            .map_err(Clone::clone)
    }
}
