//! The core of callmethod: framing, networking and dispatch for protobuf's generic services.
//!
//! The map, from the top floor down; a file imports only from its own floor or a lower one:
//!
//! * `python`: the border, the only folder that names `PyO3`
//! * [`net`], [`metrics`], [`load`]: sockets and tasks; counters; a load generator
//! * [`call`]: what a call means: lanes, processor, registry, sessions, journal
//! * [`wire`]: bytes to envelopes and back, one folder a protocol
//! * [`schema`], [`status`]: method tables from descriptors; one vocabulary of outcomes

pub mod call;
#[cfg(feature = "net")]
pub mod load;
#[cfg(feature = "net")]
pub mod metrics;
#[cfg(feature = "net")]
pub mod net;
#[cfg(feature = "python")]
mod python;
pub mod schema;
pub mod status;
pub mod wire;
