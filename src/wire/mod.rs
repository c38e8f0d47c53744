//! Protocols without I/O: bytes in, frames or one error type out; a folder a protocol.

pub mod baidu_std;
mod brpc;
mod codec;
pub mod compress;
mod envelope;
mod error;
mod extras;
pub mod hulu;
pub mod indexed;
pub mod limits;
mod presence;
mod sniff;
pub mod sofa;
pub mod tls;

pub use codec::{Answers, Codec, Head, Traits};
pub use envelope::{
    Body, CallFrame, Frame, MethodName, Name, OutgoingCall, OutgoingReply, Payload, Reads,
    ReplyFrame, Target,
};
pub use error::{BodyFault, EncodeError, WireError};
pub(crate) use extras::Carries;
pub use extras::{Checksum, Extras, Parts, Trace};
pub use presence::Tags;
pub use sniff::{SNIFF_BYTES, Sniff, Sniffed, sniff};
