//! What the load generator and the echo server have in common, beside what is in `_core::load`.

pub(crate) mod pin;
