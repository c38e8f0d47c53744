//! The server side: the acceptor, and the connections it brought in.

mod acceptor;
mod drain;

pub use acceptor::Listener;
pub use drain::Cut;

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::call::{Lane, Processor, Session};
use crate::net::Stream;
use crate::net::connection::{Connection, Terms};

/// Makes the session of a new connection. Called on the I/O thread; must not wait.
pub type OpenSession = Box<dyn Fn() -> Arc<dyn Session> + Send + Sync>;

/// One connection and its lane, until the socket is closed and the lane is done.
#[derive(Debug, Clone)]
struct Member {
    connection: Arc<Connection>,
    lane: Arc<Lane>,
}

/// A server: what it accepts with, and whom it serves.
pub struct Server {
    terms: Arc<Terms>,
    processor: Arc<Processor>,
    open_session: OpenSession,
    members: Mutex<HashMap<u64, Member>>,
    next_id: AtomicU64,
    accepting: Mutex<Option<JoinHandle<()>>>,
    /// Nothing more is to be waited for.
    abandoned: AtomicBool,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("terms", &self.terms)
            .finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    /// Starts to serve what comes in at `listener`.
    #[must_use]
    pub fn start(
        runtime: &Handle,
        listener: Listener,
        terms: Arc<Terms>,
        processor: Arc<Processor>,
        open_session: OpenSession,
    ) -> Arc<Self> {
        let server = Arc::new(Self {
            terms,
            processor,
            open_session,
            members: Mutex::default(),
            next_id: AtomicU64::new(1),
            accepting: Mutex::new(None),
            abandoned: AtomicBool::new(false),
        });
        let task = runtime.spawn(Arc::clone(&server).accept(listener));
        *locked(&server.accepting) = Some(task);
        server
    }

    /// Serves one connection to its end.
    fn welcome(self: &Arc<Self>, stream: Stream, peer: String) {
        let stream = Arc::new(stream);
        let terms = Arc::clone(&self.terms);
        let connection = Arc::new(Connection::new(Arc::clone(&stream), peer, terms));
        let lane = Lane::new((self.open_session)(), Arc::clone(&self.processor));
        let member = Member {
            connection: Arc::clone(&connection),
            lane: Arc::clone(&lane),
        };
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        locked(&self.members).insert(id, member);
        let server = Arc::clone(self);
        tokio::spawn(async move {
            connection.run(stream, Arc::clone(&lane)).await;
            poll_fn(|context| lane.poll_idle(context)).await;
            locked(&server.members).remove(&id);
        });
    }

    fn members(&self) -> Vec<Member> {
        locked(&self.members).values().cloned().collect()
    }

    /// How many calls wait to be run.
    pub fn queued_calls(&self) -> usize {
        self.members()
            .iter()
            .map(|member| member.lane.queued_calls())
            .sum()
    }
}
