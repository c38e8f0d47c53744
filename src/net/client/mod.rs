//! The client side: a channel that connects when it is needed, and again when it was lost.

mod connector;
mod delivery;
mod line;
mod pool;
mod pursuit;

pub use delivery::Delivery;

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::call::{Outbound, Processor, Session, Waiter};
use crate::net::Stream;
use crate::net::address::Address;
use crate::net::client::line::Line;
use crate::net::client::pool::Pool;
use crate::net::server::Server;
use crate::net::terms::Terms;
use crate::net::tls::TlsConnector;

/// How a channel behaves.
#[derive(Debug, Clone)]
pub struct ChannelOptions {
    /// Whether a call waits while the other end is away, up to its deadline.
    pub wait_for_ready: bool,
    /// Whether to connect again by itself after a loss: a channel that serves its peer's calls
    /// must be there to hear them.
    pub keep_connected: bool,
    /// Time for one attempt to connect.
    pub connect_timeout: Duration,
    /// Shortest pause between two attempts.
    pub backoff_min: Duration,
    /// Longest pause between two attempts.
    pub backoff_max: Duration,
    /// How often a call that the server did not run is made again.
    pub max_retry: u32,
    /// Connections with one call each at most, as many as there are calls up to this number; one
    /// connection for all calls where there is none.
    pub pooled: Option<usize>,
}

/// A way to connect that is none of the system's, such as that of a simulated network.
pub trait Dial: fmt::Debug + Send + Sync + 'static {
    /// Makes one attempt to connect.
    fn dial(&self) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send + '_>>;
}

/// Where a channel leads.
#[derive(Debug, Clone)]
pub enum Target {
    /// Out of the process.
    Address(Address),
    /// The same inside TLS.
    Secure(Address, Arc<TlsConnector>),
    /// To a server of this process, without a socket that others can see.
    Local(Weak<Server>),
    /// Wherever this leads.
    Other(Arc<dyn Dial>),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) | Self::Secure(address, _) => address.fmt(f),
            Self::Local(_) => f.write_str("memory"),
            Self::Other(other) => write!(f, "{other:?}"),
        }
    }
}

/// What serves the calls that peers make back.
#[derive(Debug, Clone)]
pub struct Serving {
    /// What their events are handed to, those of all connections.
    pub session: Arc<dyn Session>,
    /// Whose workers run them.
    pub processor: Arc<Processor>,
}

/// The lines of a channel.
#[derive(Debug)]
enum Lines {
    Single(Arc<Line>),
    Pooled(Arc<Pool>),
}

/// A channel: one place to call, over one connection or several.
#[derive(Debug)]
pub struct Channel {
    lines: Lines,
}

impl Channel {
    /// A channel to `target`, not connected yet. Events of its connections go to `serving`.
    #[must_use]
    pub fn new(
        runtime: Handle,
        target: Target,
        options: ChannelOptions,
        terms: Arc<Terms>,
        serving: Serving,
    ) -> Self {
        let pooled = options.pooled;
        let open = move || {
            let (runtime, target) = (runtime.clone(), target.clone());
            Line::new(
                runtime,
                target,
                options.clone(),
                Arc::clone(&terms),
                serving.clone(),
            )
        };
        let lines = match pooled {
            None => Lines::Single(open()),
            Some(most) => Lines::Pooled(Pool::new(most, Box::new(open))),
        };
        Self { lines }
    }

    /// Makes a call: at once where that takes no waiting, else as soon as there are a connection
    /// and room. The waiter is told, on any thread, how that ended.
    #[must_use]
    pub fn call(&self, call: Outbound, waiter: Waiter) -> Delivery {
        match &self.lines {
            Lines::Single(line) => line.call(call, waiter),
            Lines::Pooled(pool) => pool.call(call, waiter),
        }
    }

    /// Connects, and tells the waiter how that ended. `limit` bounds the wait.
    #[must_use]
    pub fn connect(&self, limit: Option<Duration>, waiter: Waiter) -> Delivery {
        match &self.lines {
            Lines::Single(line) => line.connect(limit, waiter),
            Lines::Pooled(pool) => pool.connect(limit, waiter),
        }
    }

    /// Whether there is a connection that takes calls.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        match &self.lines {
            Lines::Single(line) => line.is_connected(),
            Lines::Pooled(pool) => pool.is_connected(),
        }
    }

    /// How many calls of the peer wait to be run.
    #[must_use]
    pub fn queued_calls(&self) -> usize {
        match &self.lines {
            Lines::Single(line) => line.queued_calls(),
            Lines::Pooled(_) => 0,
        }
    }

    /// Closes the channel: what waits is written and what was called is answered for as long as
    /// `grace`, then the connections are cut. Calls that wait for a connection fail.
    pub async fn close(&self, grace: Duration) {
        match &self.lines {
            Lines::Single(line) => line.close(grace).await,
            Lines::Pooled(pool) => pool.close(grace).await,
        }
    }
}
