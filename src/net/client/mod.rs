//! The client side: a channel that connects when it is needed, and again when it was lost.

mod connector;
mod deliver;

pub use deliver::Delivery;

use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex as FairMutex, Notify};

use crate::call::{CloseKind, CloseReason, Lane, Link as _};
use crate::net::address::Address;
use crate::net::connection::{Connection, Terms};
use crate::status::{Code, Status};

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
}

/// Where a channel stands.
#[derive(Debug)]
enum State {
    /// Not connected, and nobody asked for it.
    Idle,
    /// The connector is at work.
    Connecting,
    /// Connected.
    Ready(Arc<Connection>),
    /// Closed for good.
    Closed,
}

#[derive(Debug)]
struct Standing {
    state: State,
    /// What the last attempt to connect ran into.
    last_error: Option<String>,
    /// Attempts that failed, in all.
    failures: u64,
    /// An attempt failed, and the next one is yet to begin.
    pausing: bool,
}

/// A channel: one place to call, over one connection at a time.
pub struct Channel {
    target: Address,
    options: ChannelOptions,
    terms: Arc<Terms>,
    lane: Arc<Lane>,
    runtime: Handle,
    standing: Mutex<Standing>,
    changed: Notify,
    /// Calls that wait for a connection or for room, in the order they were made.
    order: FairMutex<()>,
    /// How many of them there are.
    waiting: AtomicUsize,
    /// Bytes of their requests.
    waiting_bytes: AtomicUsize,
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl Channel {
    /// A channel to `target`, not connected yet. Events of its connections go to `lane`.
    #[must_use]
    pub fn new(
        runtime: Handle,
        target: Address,
        options: ChannelOptions,
        terms: Arc<Terms>,
        lane: Arc<Lane>,
    ) -> Arc<Self> {
        let standing = Standing {
            state: State::Idle,
            last_error: None,
            failures: 0,
            pausing: false,
        };
        Arc::new(Self {
            target,
            options,
            terms,
            lane,
            runtime,
            standing: Mutex::new(standing),
            changed: Notify::new(),
            order: FairMutex::new(()),
            waiting: AtomicUsize::new(0),
            waiting_bytes: AtomicUsize::new(0),
        })
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.standing());
        self.changed.notify_waiters();
    }

    /// Whether there is a connection that takes calls.
    pub fn is_connected(&self) -> bool {
        matches!(&self.standing().state, State::Ready(connection) if connection.is_open())
    }

    /// How many calls of the peer wait to be run.
    pub fn queued_calls(&self) -> usize {
        self.lane.queued_calls()
    }

    /// Closes the channel: what waits is written for as long as `grace`, then the connection is
    /// cut. Calls that wait for a connection fail.
    pub async fn close(&self, grace: Duration) {
        let reason = || CloseReason::new(CloseKind::Closed, "the channel was closed");
        let mut connection = None;
        self.change(|standing| {
            if let State::Ready(ready) = std::mem::replace(&mut standing.state, State::Closed) {
                connection = Some(ready);
            }
        });
        let Some(connection) = connection else { return };
        connection.finish(reason());
        // The connection's task holds the handle until the socket is closed.
        let gone = async {
            while connection.is_alive() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        if tokio::time::timeout(grace, gone).await.is_err() {
            connection.abort(reason());
        }
    }

    fn closed(&self) -> Status {
        Status::new(
            Code::Unavailable,
            format!("the channel is closed (it led to {})", self.target),
        )
    }
}
