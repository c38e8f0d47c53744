//! Fields that the metas have in common.

use bytes::Bytes;
use prost::Message;

use crate::wire::{EncodeError, Reads, WireError};

/// Reads a meta.
pub(crate) fn parse<M: Message + Default>(meta: &[u8]) -> Result<M, WireError> {
    // Copied as a whole: its fields are parts of that, and there may be very many of them.
    M::decode(Bytes::copy_from_slice(meta))
        .map_err(|_| WireError::Meta("it is no protobuf message of its kind"))
}

/// Whether a frame is a call. Like brpc, an end that expects nothing but calls, or nothing but
/// answers, takes every frame for one.
pub(crate) fn is_call(reads: Reads, says_so: bool) -> bool {
    match reads {
        Reads::Calls => true,
        Reads::Replies => false,
        Reads::Both => says_so,
    }
}

/// A text of the wire. brpc does not hold its peers to UTF-8.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A field that is left out when it says nothing.
pub(crate) fn filled(bytes: &[u8]) -> Option<Bytes> {
    (!bytes.is_empty()).then(|| Bytes::copy_from_slice(bytes))
}

/// A field without which a meta is none.
pub(crate) fn required<T>(field: Option<T>, missing: &'static str) -> Result<T, WireError> {
    field.ok_or(WireError::Meta(missing))
}

/// The id in a signed field, bit for bit. An absent one counts as 0 and is answered so.
pub(crate) fn id(correlation_id: Option<i64>) -> u64 {
    correlation_id.unwrap_or(0).cast_unsigned()
}

/// The signed field for an id, bit for bit.
pub(crate) fn correlation_id(id: Option<u64>) -> Result<i64, EncodeError> {
    id.map(u64::cast_signed).ok_or(EncodeError::IdMissing)
}
