//! What is to be done, and how far it is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::net::tls::TlsConnector;

/// Ids have ten bits for the slot, and `baidu_std` sets eight slots aside.
pub const MOST_IN_FLIGHT: usize = 1000;

/// What answers must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expects {
    /// What the call was. Another one, or a failure, ends the measurement.
    Echo,
    /// Whatever the server says; failures are counted.
    Anything,
}

/// Which calls are made, and for how long.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server.
    pub connect: SocketAddr,
    /// How TLS is spoken to it, if it is.
    pub tls: Option<Arc<TlsConnector>>,
    /// How many there are.
    pub connections: usize,
    /// Calls under way on each of them, at most [`MOST_IN_FLIGHT`].
    pub in_flight: usize,
    /// How long it is measured.
    pub measured: Duration,
    /// How long there are calls before that.
    pub warmup: Duration,
    /// It ends after so many measured calls.
    pub calls: u64,
    /// It fails when no answer comes for so long.
    pub stall: Duration,
    /// What answers must be.
    pub expects: Expects,
}

/// How far a measurement is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Seconds since the measurement began; none before that.
    pub measured: Option<f64>,
    /// Measured calls so far.
    pub calls: u64,
    /// Those of them that failed.
    pub failed: u64,
}
