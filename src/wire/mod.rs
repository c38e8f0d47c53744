//! Protocols without I/O: bytes in, frames or one error type out; a folder a protocol.

mod codec;
mod envelope;
mod error;
pub mod indexed;
pub mod limits;

pub use codec::{Codec, Head};
pub use envelope::{Frame, FrameKind};
pub use error::{EncodeError, WireError};
