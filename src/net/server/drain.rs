//! How a server stops: what is under way may end, what does not end in time is cut.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::call::{CloseKind, CloseReason, Lane, Link as _};
use crate::metrics::Outcome;
use crate::net::server::{Member, Server, locked};
use crate::status::Code;

/// How often a drain looks again.
const TICK: Duration = Duration::from_millis(5);
/// Time for sessions to be told of the cut.
const FAREWELL: Duration = Duration::from_millis(500);

/// What a stop did not let end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cut {
    /// Connections that were still open when the grace ended.
    pub connections: usize,
    /// Calls that had come in and were never started.
    pub calls: usize,
    /// Handlers that were still running when all was over.
    pub running: usize,
}

fn stopped() -> CloseReason {
    CloseReason::new(CloseKind::ServerStopped, "the server stopped")
}

impl Server {
    /// Accepts nothing more, lets connections end for as long as `grace`, then cuts the rest.
    ///
    /// On a one-way wire a peer learns of the drain only by our end of stream, after which
    /// nothing more can be said to it. So the write side of a connection is closed when nothing
    /// of it waits or runs, at the latest after half of the grace; reading and running go on to
    /// the peer's own end of stream.
    pub async fn stop(&self, grace: Duration) -> Cut {
        let accepting = locked(&self.accepting).take();
        if let Some(task) = accepting {
            task.abort();
            // The listener is closed when its task is gone; that it was aborted is no news.
            let _ = task.await;
        }
        let start = Instant::now();
        let mut members = self.members();
        while !members.is_empty()
            && start.elapsed() < grace
            && !self.abandoned.load(Ordering::Relaxed)
        {
            let late = start.elapsed() >= grace / 2;
            for Member { connection, lane } in &members {
                if connection.is_open() && (late || lane.is_idle() && connection.is_flushed()) {
                    connection.finish(stopped());
                }
            }
            sleep(TICK).await;
            members = self.members();
        }
        self.cut(members).await
    }

    async fn cut(&self, members: Vec<Member>) -> Cut {
        let mut cut = Cut::default();
        for Member { connection, lane } in &members {
            cut.connections += usize::from(connection.is_alive());
            cut.calls += self.discard(lane);
            connection.abort(stopped());
        }
        let start = Instant::now();
        while !locked(&self.members).is_empty() && start.elapsed() < FAREWELL {
            sleep(TICK).await;
        }
        cut.running = locked(&self.members).len();
        cut
    }

    /// Throws away the calls that wait in a lane and says how many they were.
    fn discard(&self, lane: &Lane) -> usize {
        let discarded = lane.discard_calls();
        for _ in 0..discarded {
            self.terms
                .counters
                .call_ended(Outcome::Failed(Code::Cancelled));
        }
        discarded
    }

    /// Ends all connections at once, without waiting; a drain under way gives up.
    pub fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
        if let Some(task) = locked(&self.accepting).take() {
            task.abort();
        }
        for Member { connection, lane } in self.members() {
            self.discard(&lane);
            connection.abort(stopped());
        }
    }
}
