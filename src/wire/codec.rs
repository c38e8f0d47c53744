//! What a framed protocol must offer to a connection.

use std::fmt;

use bytes::{Buf as _, Bytes, BytesMut};
use smallvec::SmallVec;

use crate::wire::{EncodeError, Frame, OutgoingCall, OutgoingReply, Reads, Sniff, WireError};

/// Bytes that stand before a body. Most heads fit without an allocation.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Head(SmallVec<[u8; 128]>);

impl From<&[u8]> for Head {
    fn from(bytes: &[u8]) -> Self {
        Self(SmallVec::from_slice(bytes))
    }
}

impl Head {
    /// Appends `bytes`.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Appends `length` zeros, which are to be written over.
    pub(crate) fn grow(&mut self, length: usize) -> &mut [u8] {
        let start = self.0.len();
        self.0.resize(start + length, 0);
        self.0.get_mut(start..).unwrap_or_default()
    }

    /// The bytes to send.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Head").field(&self.as_slice()).finish()
    }
}

/// Bytes up to which a message or an attachment is copied out of the buffer it came in: few bytes
/// that wait must not hold on to all of it.
pub(crate) const SMALL_BYTES: usize = 2 * 1024;

/// Takes the next `length` bytes, which are there, off the front of `buffer`.
pub(crate) fn take(buffer: &mut BytesMut, length: usize) -> Bytes {
    if length <= SMALL_BYTES {
        let taken = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
        buffer.advance(length);
        taken
    } else {
        buffer.split_to(length).freeze()
    }
}

/// How calls of a protocol are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// Not at all: a call ends when its frame was handed over.
    Never,
    /// In any order; an answer carries its call's id.
    ById,
    /// In the order of the calls.
    InOrder,
}

/// What a protocol can carry.
#[expect(clippy::struct_excessive_bools)] // each is a question of its own
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// How calls are answered.
    pub answers: Answers,
    /// Whether an answer can say that the call failed; else a failure closes the connection.
    pub failures: bool,
    /// Whether the calls of one connection may run side by side.
    pub concurrent: bool,
    /// Whether a caller can say who it is.
    pub credentials: bool,
    /// Whether there are free keys and values.
    pub metadata: bool,
    /// Whether calls and answers can be told apart, so that both ends may call.
    pub both_ways: bool,
    /// The largest id that a call can carry; 0 where calls carry none.
    pub largest_id: u64,
}

/// A framed protocol. It keeps no state, so one codec serves all connections.
pub trait Codec: fmt::Debug + Send + Sync + 'static {
    /// The protocol's name, for logs and for `controller.protocol`.
    fn name(&self) -> &'static str;

    /// What it can carry.
    fn traits(&self) -> Traits;

    /// Most bytes of a frame, counted as the protocol counts, and most bytes of a message once
    /// inflated.
    fn limit(&self) -> u64;

    /// Whether a connection whose first bytes are `bytes` speaks this protocol.
    fn sniff(&self, bytes: &[u8]) -> Sniff;

    /// Takes one complete frame off the front of `buffer`.
    ///
    /// `Ok(None)` means that more bytes are needed; `buffer` is left alone then. Nothing is ever
    /// reserved for a length that a peer announced.
    ///
    /// # Errors
    /// Bytes that no honest peer sends. The stream cannot be read on after that.
    fn decode(&self, reads: Reads, buffer: &mut BytesMut) -> Result<Option<Frame>, WireError>;

    /// What to send before the body of a call.
    ///
    /// # Errors
    /// The protocol or the limit cannot carry such a call.
    fn call_head(&self, call: &OutgoingCall<'_>) -> Result<Head, EncodeError>;

    /// What to send before the body of an answer, or instead of it when the call failed.
    ///
    /// # Errors
    /// The protocol or the limit cannot carry such an answer.
    fn reply_head(&self, reply: &OutgoingReply<'_>) -> Result<Head, EncodeError>;
}
