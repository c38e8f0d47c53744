//! What a peer can do wrong on the wire, and what we could do wrong ourselves.

/// A peer's bytes that are no frame of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The announced length does not even cover what stands before the body.
    #[error("announced length {announced} is below {minimum}, the least this layout can have")]
    LengthBelowHeader {
        /// The number on the wire.
        announced: u64,
        /// The least that makes sense.
        minimum: u64,
    },
    /// The announced length is more than this end takes.
    #[error("announced length {announced} is above the limit {limit}")]
    LengthAboveLimit {
        /// The number on the wire.
        announced: u64,
        /// The most that this end takes, counted as the wire counts.
        limit: u64,
    },
    /// The bytes do not begin as frames of the protocol do.
    #[error(
        "the frame begins with {}, not with {}",
        .received.get(..*.length).unwrap_or(.received).escape_ascii(),
        .expected.escape_ascii()
    )]
    Magic {
        /// The bytes on the wire.
        received: [u8; 4],
        /// How many of them had come.
        length: usize,
        /// The protocol's magic number.
        expected: [u8; 4],
    },
    /// The sizes in the header contradict each other.
    #[error("{meta} bytes of meta do not go with {body} bytes of body")]
    Sizes {
        /// The size of the meta on the wire.
        meta: u64,
        /// The other size.
        body: u64,
    },
    /// The header says its sum wrong.
    #[error(
        "a message_size of {message} is not the sum of {meta} bytes of meta and {body} of body"
    )]
    Sum {
        /// The sum on the wire.
        message: u64,
        /// The size of the meta on the wire.
        meta: u64,
        /// The size of the body on the wire.
        body: u64,
    },
    /// The meta is not what the protocol defines.
    #[error("the meta of the frame is bad: {0}")]
    Meta(&'static str),
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame, after {received} of its bytes")]
    Truncated {
        /// Bytes of the unfinished frame that had come.
        received: usize,
    },
}

impl WireError {
    /// The label under which it is counted.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::LengthBelowHeader { .. } => "length_below_header",
            Self::LengthAboveLimit { .. } => "length_above_limit",
            Self::Magic { .. } => "bad_magic",
            Self::Sizes { .. } | Self::Sum { .. } => "bad_sizes",
            Self::Meta(_) => "bad_meta",
            Self::Truncated { .. } => "truncated",
        }
    }
}

/// A message whose bytes cannot be one; the frame around it is sound, and so is the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// A compression that is not spoken here.
    #[error("compress_type {0} is not known here")]
    Compression(i32),
    /// An encoding that is not spoken here.
    #[error("content_type {0} is not served; only protobuf is")]
    Content(i32),
    /// The bytes are not those that the sender protected.
    #[error("the checksum does not match")]
    Checksum,
    /// The attachment is said to be longer than the frame.
    #[error("an attachment of {announced} bytes does not fit into {there}")]
    Attachment {
        /// The size on the wire.
        announced: i64,
        /// Bytes after the meta.
        there: usize,
    },
}

/// A frame that cannot be sent in the chosen layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The method's index does not fit the layout.
    #[error("method index {index} is above {largest}, the largest that this layout carries")]
    Index {
        /// The index asked for.
        index: u32,
        /// The largest that fits.
        largest: u64,
    },
    /// The layout carries a call id and none was given.
    #[error("this layout carries a call id and none was given")]
    IdMissing,
    /// The layout carries no call id and one was given.
    #[error("this layout carries no call id and {0} was given")]
    IdUnknown(u64),
    /// The call id does not fit the layout.
    #[error("call id {id} is above {largest}, the largest that this layout carries")]
    Id {
        /// The id asked for.
        id: u64,
        /// The largest that fits.
        largest: u64,
    },
    /// Something was to go along that the protocol cannot carry.
    #[error("{protocol} carries no {what}")]
    Extra {
        /// The protocol.
        protocol: &'static str,
        /// What it cannot carry.
        what: &'static str,
    },
    /// What is to go along is too much for the meta.
    #[error("a meta of {meta} bytes is above the limit of {limit}")]
    Meta {
        /// Bytes of the meta.
        meta: u64,
        /// Most bytes of a meta.
        limit: u64,
    },
    /// A failure was to be sent on a wire without failures.
    #[error("{0} has no way to say that a call failed")]
    Failure(&'static str),
    /// The message is larger than a frame may be.
    #[error(
        "a message of {body} bytes makes {announced} bytes after the length; the limit is {limit}"
    )]
    Body {
        /// Bytes of the message.
        body: usize,
        /// Bytes that would follow the length field.
        announced: u64,
        /// Bytes that may follow it.
        limit: u64,
    },
}
