//! In what a protocol of the family differs from the others.

use bytes::{BufMut, Bytes};
use prost::Message;

use crate::wire::brpc::Sizes;
use crate::wire::{
    Answers, EncodeError, Frame, OutgoingCall, OutgoingReply, Reads, Traits, WireError,
};

/// One protocol.
pub(crate) trait Dialect: Incoming + Outgoing {
    /// Its name.
    const NAME: &'static str;
    /// What it can carry.
    const TRAITS: Traits;
    /// What its frames begin with.
    const MAGIC: [u8; 4];
    /// Bytes of the sizes, which follow the magic number.
    const SIZES: usize;

    /// Reads the sizes, which have [`Self::SIZES`] bytes.
    fn read_sizes(sizes: &[u8], limit: u64) -> Result<Sizes, WireError>;

    /// Writes the sizes.
    fn write_sizes(sizes: Sizes, head: &mut impl BufMut);
}

/// How it makes frames of what it reads.
pub(crate) trait Incoming {
    /// The frame of a meta and what follows it.
    fn frame(reads: Reads, meta: &[u8], payload: Bytes) -> Result<Frame, WireError>;
}

/// How it describes what it writes.
pub(crate) trait Outgoing {
    /// The meta of a call.
    fn call_meta(call: &OutgoingCall<'_>) -> Result<impl Message, EncodeError>;

    /// The bytes of the meta of an answer that says no more than most do, where that is quicker.
    fn usual_reply_meta(_: &OutgoingReply<'_>) -> Option<impl AsRef<[u8]>> {
        None::<[u8; 0]>
    }

    /// The meta of an answer. After one that reports a failure, neither a message nor an attachment
    /// follows.
    fn reply_meta(reply: &OutgoingReply<'_>) -> Result<impl Message, EncodeError>;
}

/// What all of them carry, and no more.
pub(crate) const TRAITS: Traits = Traits {
    answers: Answers::ById,
    failures: true,
    concurrent: true,
    credentials: false,
    metadata: false,
    both_ways: false,
    largest_id: u64::MAX,
};
