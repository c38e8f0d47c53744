//! What can be wrong with a service's descriptors, or with a message read through them.

/// Why descriptors or a message were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// Bytes that are no `FileDescriptorProto`.
    #[error("file descriptor {position} of {service} does not parse: {reason}")]
    File {
        /// Full name of the service the files were given for.
        service: String,
        /// Place of the file in the list.
        position: usize,
        /// What the parser says.
        reason: String,
    },
    /// No file declares the service.
    #[error("none of the {files} files declares the service {service}")]
    NoService {
        /// Full name that was looked for.
        service: String,
        /// How many files were searched.
        files: usize,
    },
    /// The files cannot be linked into a pool.
    #[error("the files do not link: {0}")]
    Link(String),
    /// A file that uses editions, which reflection does not know. Binary calls do not need it.
    #[error("{0} uses editions; no JSON or text is made of its messages, only bytes")]
    Editions(String),
    /// A message type that no file declares.
    #[error("no message type {0}")]
    NoMessage(String),
    /// A service, type or file that no file declares.
    #[error("nothing is named {0}")]
    NoSymbol(String),
    /// A text that is no JSON, or no message of the type.
    #[error("{reason}")]
    Json {
        /// Full name of the expected type.
        message: String,
        /// What the parser says, and where.
        reason: String,
    },
    /// Bytes that are no message of the type.
    #[error("not a {message}: {reason}")]
    Message {
        /// Full name of the expected type.
        message: String,
        /// What the parser says.
        reason: String,
    },
}
