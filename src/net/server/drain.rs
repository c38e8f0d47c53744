//! How a server stops: what is under way may end, what does not end in time is cut.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::call::{CloseKind, CloseReason, Lane, Link as _};
use crate::net::connection::{Connection, locked};
use crate::net::server::{Member, Server};
use crate::status::{Code, Status};
use crate::wire::baidu_std::errno;

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

impl Connection {
    /// Takes no new calls where their callers can be told so, and tells those who understand it.
    fn stop_admitting(&self) {
        if self.answering.stop() {
            self.go_away("the server stops");
        }
    }

    /// Whether its caller will close it, having been told that this end stops.
    fn will_move(&self) -> bool {
        self.calling.peer_moves()
    }
}

impl Member {
    /// Writes our end of stream if that cuts nothing off.
    fn end_if_done(&self, late: bool) {
        let Self { connection, lane } = self;
        if !connection.is_open() || connection.will_move() {
            return;
        }
        let idle = lane.is_idle() && connection.is_flushed() && connection.is_unoccupied();
        if idle || late && !connection.traits().failures {
            connection.finish(stopped());
        }
    }
}

/// Throws away the calls that wait in a lane and says how many they were.
fn discard(lane: &Lane) -> usize {
    let calls = lane.take_calls();
    for call in &calls {
        let status = Status::new(
            Code::Cancelled,
            "the server stopped before the call was run",
        );
        call.ticket.fail(&status.with_native(errno::ELOGOFF));
    }
    calls.len()
}

pub(super) fn stopped() -> CloseReason {
    CloseReason::new(CloseKind::ServerStopped, "the server stopped")
}

impl Server {
    /// Accepts nothing more; whoever was accepted is served as before.
    pub async fn close(&self) {
        let accepting = locked(&self.accepting).take();
        if let Some(task) = accepting {
            task.abort();
            // The listener is closed when its task is gone; that it was aborted is no news.
            let _ = task.await;
        }
    }

    /// Accepts nothing more, lets connections end for as long as `grace`, then cuts the rest.
    ///
    /// Callers that said that they understand it are told to move on, and close when nothing of
    /// theirs is under way. To the others our end of stream must say so, after which nothing more
    /// can be said: it is written when nothing of a connection waits or runs. On a one-way wire,
    /// where nobody can be refused, that is at the latest after half of the grace, and reading and
    /// running go on to the peer's own end of stream. Elsewhere a new call is answered with
    /// ELOGOFF.
    pub async fn stop(&self, grace: Duration) -> Cut {
        self.drain(grace).await;
        let mut cut = self.cut();
        cut.running = self.farewell().await;
        cut
    }

    /// The first part of a stop: its grace.
    pub async fn drain(&self, grace: Duration) {
        self.stopping.store(true, Ordering::Release);
        self.close().await;
        self.stopped.notify_waiters();
        let start = Instant::now();
        let mut members = self.members();
        while !members.is_empty()
            && start.elapsed() < grace
            && !self.abandoned.load(Ordering::Acquire)
        {
            let late = start.elapsed() >= grace / 2;
            for member in &members {
                member.connection.stop_admitting();
                member.end_if_done(late);
            }
            sleep(TICK).await;
            members = self.members();
        }
    }

    /// The second part: ends the connections that are left.
    pub fn cut(&self) -> Cut {
        // Before the look: who comes after it finds this.
        self.abandoned.store(true, Ordering::Release);
        let mut cut = Cut::default();
        for Member { connection, lane } in self.members() {
            cut.connections += usize::from(connection.is_alive());
            cut.calls += discard(&lane);
            connection.abort(stopped());
        }
        cut
    }

    /// The third part: waits a moment for sessions to be told of the cut, and says how many
    /// handlers still run. Whoever can end handlers does so before.
    pub async fn farewell(&self) -> usize {
        let start = Instant::now();
        while !locked(&self.members).is_empty() && start.elapsed() < FAREWELL {
            sleep(TICK).await;
        }
        locked(&self.members).len()
    }

    /// Ends all connections at once, without waiting; a drain under way gives up.
    pub fn abandon(&self) {
        self.stopping.store(true, Ordering::Release);
        self.stopped.notify_waiters();
        self.abandoned.store(true, Ordering::Release);
        if let Some(task) = locked(&self.accepting).take() {
            task.abort();
        }
        for Member { connection, lane } in self.members() {
            discard(&lane);
            connection.abort(stopped());
        }
    }
}
