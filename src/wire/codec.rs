//! What a framed protocol must offer to a connection.

use std::fmt;

use bytes::BytesMut;

use crate::wire::{EncodeError, Frame, FrameKind, WireError};

/// Bytes that stand before a body: at most a length of 8, an id of 8 and an index of 4 bytes.
#[derive(Clone, Copy, Default)]
pub struct Head {
    bytes: [u8; Self::CAPACITY],
    used: usize,
}

impl Head {
    const CAPACITY: usize = 8 + 8 + 4;

    /// Appends `bytes`; a codec never writes more than fits.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let end = self.used + bytes.len();
        if let Some(room) = self.bytes.get_mut(self.used..end) {
            room.copy_from_slice(bytes);
            self.used = end;
        }
    }

    /// The bytes to send.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Head").field(&self.as_slice()).finish()
    }
}

/// A framed protocol. It keeps no state, so one codec serves all connections.
pub trait Codec: fmt::Debug + Send + Sync + 'static {
    /// The protocol's name, for logs and for `controller.protocol`.
    fn name(&self) -> &'static str;

    /// Takes one complete frame off the front of `buffer`.
    ///
    /// `Ok(None)` means that more bytes are needed; `buffer` is left alone then. Nothing is ever
    /// reserved for a length that a peer announced.
    ///
    /// # Errors
    /// Bytes that no honest peer sends. The stream cannot be read on after that.
    fn decode(&self, kind: FrameKind, buffer: &mut BytesMut) -> Result<Option<Frame>, WireError>;

    /// What to send before a body of `body` bytes to call the method at `index`.
    ///
    /// # Errors
    /// The layout or the limit cannot carry such a call.
    fn call_head(&self, index: u32, id: Option<u64>, body: usize) -> Result<Head, EncodeError>;

    /// What to send before a body of `body` bytes to answer a call.
    ///
    /// # Errors
    /// The layout or the limit cannot carry such an answer.
    fn reply_head(&self, id: Option<u64>, body: usize) -> Result<Head, EncodeError>;
}
