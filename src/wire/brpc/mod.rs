//! What the three protocols that brpc brings along have in common.
//!
//! A frame is a magic number, sizes, a protobuf message about the call (the meta), the message and,
//! in two of them, an attachment. Failures are numbers of one table. In what a protocol differs is
//! its [`Dialect`].

mod codec;
mod compressions;
mod dialect;
pub mod errno;
mod fields;
mod outcome;
mod sizes;

pub(crate) use codec::BrpcCodec;
pub(crate) use compressions::Compressions;
pub(crate) use dialect::{Dialect, Incoming, Outgoing, TRAITS};
pub(crate) use fields::{correlation_id, filled, id, is_call, parse, required, text};
pub(crate) use outcome::outcome;
pub(crate) use sizes::Sizes;
