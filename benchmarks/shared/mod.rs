//! What the load generator and the echo server have in common.

pub(crate) mod buffer;
pub(crate) mod meta;
pub(crate) mod pin;
pub(crate) mod ready;
