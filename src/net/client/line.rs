//! One place to call, over one connection at a time.

use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex as FairMutex, Notify};
use tokio::time::{Instant, sleep};

use crate::call::{CloseKind, CloseReason, Lane, Link as _};
use crate::net::client::{ChannelOptions, Target};
use crate::net::connection::{Connection, Terms, locked};
use crate::status::{Code, Status};

/// How often a close looks whether all has ended.
const TICK: Duration = Duration::from_millis(1);

/// Where a line stands.
#[derive(Debug)]
pub(super) enum State {
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
pub(super) struct Standing {
    pub(super) state: State,
    /// What the last attempt to connect ran into.
    pub(super) last_error: Option<String>,
    /// When that was last written down.
    pub(super) said: Option<Instant>,
    /// Attempts that failed, in all.
    pub(super) failures: u64,
    /// An attempt failed, and the next one is yet to begin.
    pub(super) pausing: bool,
}

/// One place to call, over one connection at a time.
pub(super) struct Line {
    pub(super) target: Target,
    pub(super) options: ChannelOptions,
    pub(super) terms: Arc<Terms>,
    pub(super) lane: Arc<Lane>,
    pub(super) runtime: Handle,
    pub(super) standing: Mutex<Standing>,
    pub(super) changed: Notify,
    /// A call will not wait for much longer.
    pub(super) hurry: Notify,
    /// Calls that wait for a connection or for room, in the order they were made.
    pub(super) order: FairMutex<()>,
    /// How many of them there are.
    pub(super) waiting: AtomicUsize,
    /// Bytes of their requests.
    pub(super) waiting_bytes: AtomicUsize,
    /// Connections that take no new calls and still have some under way.
    pub(super) left: Mutex<Vec<Weak<Connection>>>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl Line {
    /// A line to `target`, not connected yet. Events of its connections go to `lane`.
    pub(super) fn new(
        runtime: Handle,
        target: Target,
        options: ChannelOptions,
        terms: Arc<Terms>,
        lane: Arc<Lane>,
    ) -> Arc<Self> {
        let standing = Standing {
            state: State::Idle,
            last_error: None,
            said: None,
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
            hurry: Notify::new(),
            order: FairMutex::new(()),
            waiting: AtomicUsize::new(0),
            waiting_bytes: AtomicUsize::new(0),
            left: Mutex::default(),
        })
    }

    pub(super) fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.standing());
        self.changed.notify_waiters();
    }

    /// Whether there is a connection that takes calls.
    pub(super) fn is_connected(&self) -> bool {
        matches!(&self.standing().state, State::Ready(connection) if connection.takes_calls())
    }

    /// How many calls of the peer wait to be run.
    pub(super) fn queued_calls(&self) -> usize {
        self.lane.queued_calls()
    }

    /// Cuts the connection, so that the next call makes a new one.
    pub(super) fn cut(&self) {
        let ready = match &self.standing().state {
            State::Ready(connection) => Arc::clone(connection),
            _ => return,
        };
        let text = "a call on it ended without an answer";
        ready.leave();
        ready.abort(CloseReason::new(CloseKind::Closed, text));
    }

    /// Closes the line: what waits is written and what was called is answered for as long as
    /// `grace`, then the connection is cut. Calls that wait for a connection fail.
    pub(super) async fn close(&self, grace: Duration) {
        let mut connections: Vec<_> = std::mem::take(&mut *locked(&self.left))
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        self.change(|standing| {
            if let State::Ready(ready) = std::mem::replace(&mut standing.state, State::Closed) {
                connections.push(ready);
            }
        });
        let ends = Instant::now() + grace;
        // The connection's task holds the handle until the socket is closed.
        while connections.iter().any(|connection| connection.is_alive()) {
            let late = Instant::now() >= ends;
            for connection in &connections {
                let reason = CloseReason::new(CloseKind::Closed, "the channel was closed");
                if late {
                    connection.abort(reason);
                } else if connection.pending_calls() == 0 {
                    connection.finish(reason);
                }
            }
            if late {
                return;
            }
            sleep(TICK).await;
        }
    }

    pub(super) fn closed(&self) -> Status {
        Status::new(
            Code::Unavailable,
            format!("the channel is closed (it led to {})", self.target),
        )
    }
}
