//! One place to call, over one connection at a time.

use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex as FairMutex, Notify};
use tokio::time::{Instant, sleep};

use crate::call::{CloseKind, CloseReason, Lane, Link as _};
use crate::net::client::{ChannelOptions, Serving, Target};
use crate::net::connection::{Connection, locked};
use crate::net::terms::Terms;
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
    /// What the peer's calls are handed to, and who runs them.
    pub(super) serving: Serving,
    /// Where they wait, for each connection.
    pub(super) lanes: Mutex<Vec<Weak<Lane>>>,
    pub(super) runtime: Handle,
    pub(super) standing: Mutex<Standing>,
    pub(super) changed: Notify,
    /// A call will not wait for much longer.
    pub(super) hurry: Notify,
    /// Calls that wait for a connection or for room, in the order they were made.
    pub(super) order: FairMutex<()>,
    /// How many of them there are.
    pub(super) waiting: AtomicUsize,
    /// Calls that pause before another try; others pass them.
    pub(super) pausing: AtomicUsize,
    /// Bytes of both.
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
    /// A line to `target`, not connected yet. Events of its connections go to `serving`.
    pub(super) fn new(
        runtime: Handle,
        target: Target,
        options: ChannelOptions,
        terms: Arc<Terms>,
        serving: Serving,
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
            serving,
            lanes: Mutex::default(),
            runtime,
            standing: Mutex::new(standing),
            changed: Notify::new(),
            hurry: Notify::new(),
            order: FairMutex::new(()),
            waiting: AtomicUsize::new(0),
            pausing: AtomicUsize::new(0),
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
        let lanes = locked(&self.lanes);
        let lanes = lanes.iter().filter_map(Weak::upgrade);
        lanes.map(|lane| lane.queued_calls()).sum()
    }

    /// A lane for the calls of one connection, so that what hangs there holds up no other.
    pub(super) fn lane(&self) -> Arc<Lane> {
        let Serving { session, processor } = &self.serving;
        let lane = Lane::new(Arc::clone(session), Arc::clone(processor));
        let mut lanes = locked(&self.lanes);
        lanes.retain(|other| other.strong_count() > 0);
        lanes.push(Arc::downgrade(&lane));
        lane
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

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::call::{Event, Journal, Link, Processor, Session, Turn};
    use crate::metrics::Counters;
    use crate::net::address::Address;
    use crate::net::terms::{Offer, Role};
    use crate::net::{Driver, Timeouts, Unfinished};
    use crate::wire::baidu_std::BaiduStdCodec;
    use crate::wire::limits;

    #[derive(Debug)]
    struct Deaf;

    impl Session for Deaf {
        fn handle(&self, _: &Arc<dyn Link>, _: Event, _: &mut Turn<'_>) {}
    }

    /// A line to nowhere.
    pub(crate) fn line(driver: &Arc<Driver>) -> Arc<Line> {
        let terms = Terms {
            codec: Arc::new(BaiduStdCodec::new(limits::MESSAGE_BYTES)),
            coalesce: true,
            close_on_bad_body: true,
            role: Role::Caller {
                credential: Mutex::new(Bytes::new()),
            },
            offer: Offer::Nothing,
            timeouts: Timeouts {
                idle: None,
                frame: Duration::from_secs(30),
                write: Duration::from_secs(30),
            },
            unfinished: Arc::new(Unfinished::of(usize::MAX)),
            driver: Arc::clone(driver),
            counters: Arc::new(Counters::default()),
            journal: Arc::new(Journal::default()),
        };
        let options = ChannelOptions {
            wait_for_ready: true,
            keep_connected: false,
            connect_timeout: Duration::from_secs(1),
            backoff_min: Duration::from_millis(5),
            backoff_max: Duration::from_millis(50),
            max_retry: 3,
            pooled: None,
        };
        let target = Target::Address(Address::Unix("/nowhere".into()));
        let serving = Serving {
            session: Arc::new(Deaf),
            processor: Arc::new(Processor::default()),
        };
        Line::new(
            driver.handle().clone(),
            target,
            options,
            Arc::new(terms),
            serving,
        )
    }
}
