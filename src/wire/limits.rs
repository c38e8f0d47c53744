//! The bounds of the wire, by name and unit.

/// Bytes a message may have unless the user says otherwise.
pub const MESSAGE_BYTES: u64 = 4 * 1024 * 1024;

/// The highest message limit a user may set, in bytes.
///
/// From 512 MiB on, a length could be taken for four printable ASCII bytes, by which the other
/// protocols of a shared port are told apart.
pub const MESSAGE_BYTES_CEILING: u64 = 512 * 1024 * 1024 - 1;

/// Bytes that what describes a call may have (the meta), where a protocol sends that apart from the
/// message.
///
/// brpc knows no such limit. A meta is taken apart at once, and two bytes of it can grow to some
/// sixty then.
pub const META_BYTES: u64 = 256 * 1024;
