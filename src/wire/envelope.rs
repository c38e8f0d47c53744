//! What every protocol's codec makes of bytes, and what it makes bytes of.

use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::status::Status;
use crate::wire::compress::Compression;
use crate::wire::{BodyFault, Extras};

/// A name on a wire; most have room in it.
pub type Name = SmallVec<[u8; 32]>;

/// How a wire names the called method. Names are kept as they came: no protocol promises UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Place in the one service that the receiving end serves.
    Index(u32),
    /// Service, by full or bare name, and bare name of the method.
    Name {
        /// `game.GameService` or `GameService`.
        service: Name,
        /// `connect_server`.
        method: Name,
    },
    /// Bare name of the service and place of the method in it.
    Place {
        /// `GameService`.
        service: Bytes,
        /// Place of the method; negative ones are none.
        index: i32,
    },
}

/// A serialized message as it came or is to be sent, maybe compressed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Payload {
    /// The bytes on the wire.
    pub bytes: Bytes,
    /// What undoes their compression.
    pub compression: Compression,
}

impl Payload {
    /// A message that is not compressed.
    #[must_use]
    pub fn plain(bytes: Bytes) -> Self {
        Self {
            bytes,
            compression: Compression::None,
        }
    }
}

impl<'a> From<&'a Payload> for Body<'a> {
    fn from(payload: &'a Payload) -> Self {
        Self {
            bytes: &payload.bytes,
            compression: payload.compression,
        }
    }
}

/// A serialized message that is to be sent, compressed already where it is to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Body<'a> {
    /// The bytes for the wire.
    pub bytes: &'a [u8],
    /// What undoes their compression.
    pub compression: Compression,
}

/// A call as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallFrame {
    /// What is called.
    pub target: Target,
    /// What the answer must carry, where the layout has ids.
    pub id: Option<u64>,
    /// What is left of the caller's time, where the wire carries it.
    pub timeout: Option<Duration>,
    /// The request, or why its bytes cannot be one.
    pub body: Result<Payload, BodyFault>,
    /// What came beside it.
    pub extras: Extras,
}

/// An answer as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyFrame {
    /// The id of the call it answers, where the layout has ids.
    pub id: Option<u64>,
    /// The response, or how the call failed.
    pub outcome: Result<Payload, Status>,
    /// What came beside it.
    pub extras: Extras,
}

/// One frame, free of the layout it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Somebody calls.
    Call(CallFrame),
    /// Somebody answers.
    Reply(ReplyFrame),
}

/// Which frames an end of a connection expects. On most wires the bytes do not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Calls alone: it serves.
    Calls,
    /// Answers alone: it calls.
    Replies,
    /// Both: it calls and serves on one connection.
    Both,
}

/// The method of an outgoing call, in all the ways in which wires name one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodName {
    /// Full name of the service.
    pub service: String,
    /// Bare name of the method.
    pub method: String,
    /// Place of the method in its service.
    pub index: u32,
}

/// A call to be sent. Its bytes are the head that a codec makes of it, then `body`, then the
/// attachment.
#[derive(Debug, Clone, Copy)]
pub struct OutgoingCall<'a> {
    /// What is called.
    pub method: &'a MethodName,
    /// What the answer will carry, where the wire has ids.
    pub id: Option<u64>,
    /// What is left of the time for the call.
    pub timeout: Option<Duration>,
    /// The request.
    pub body: Body<'a>,
    /// What goes beside it.
    pub extras: &'a Extras,
}

/// An answer to be sent. Its bytes are the head that a codec makes of it, then, if the call
/// succeeded, the body and the attachment.
#[derive(Debug, Clone, Copy)]
pub struct OutgoingReply<'a> {
    /// The id that the call carried, where the wire has ids.
    pub id: Option<u64>,
    /// The response, or how the call failed.
    pub outcome: Result<Body<'a>, &'a Status>,
    /// What goes beside it.
    pub extras: &'a Extras,
}
