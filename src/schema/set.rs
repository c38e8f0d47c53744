//! Serialized files, together: the bytes of a `FileDescriptorSet`.

use bytes::Bytes;
use prost::Message;

use crate::schema::SchemaError;

/// `google.protobuf.FileDescriptorSet`, whose files stay bytes: what is read into structs and
/// written again has lost the options that the structs do not know.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct FileSet {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(crate) files: Vec<Bytes>,
}

/// The files of a serialized `FileDescriptorSet`, each serialized by itself.
///
/// # Errors
/// The bytes are none.
pub fn split_set(bytes: &[u8]) -> Result<Vec<Bytes>, SchemaError> {
    FileSet::decode(bytes)
        .map(|set| set.files)
        .map_err(|error| SchemaError::Link(error.to_string()))
}
