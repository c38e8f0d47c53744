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
            Self::Truncated { .. } => "truncated",
        }
    }
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
