//! A frame of this protocol, free of its layout.

use bytes::Bytes;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Index of the called method; `None` in a reply.
    pub index: Option<u32>,
    /// The id that pairs a call with its reply, where the layout has one.
    pub id: Option<u64>,
    /// The serialized message.
    pub body: Bytes,
}

/// The two kinds of frames. They are told apart by who receives them, not by their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// A call: names a method.
    Call,
    /// The answer to a call: names none.
    Reply,
}
