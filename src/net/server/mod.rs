//! The server side: the acceptor, and the connections it brought in.

mod acceptor;
mod bounds;
mod drain;
mod securing;
mod sniffing;

pub use acceptor::{Listener, listen, share};
pub use bounds::Bounds;
pub use drain::Cut;

use bounds::Seats;

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

use crate::call::{CloseReason, Lane, Link as _, Processor, Session};
use crate::net::connection::{Connection, locked};
use crate::net::crowd::{Crowd, Place};
use crate::net::panics::contained;
use crate::net::terms::{Role, Terms};
use crate::net::tls::TlsAcceptor;
use crate::net::{Socket, Stream};

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
    /// One for each protocol, in the order in which they are looked for.
    protocols: Vec<Arc<Terms>>,
    seats: Seats,
    /// The handshakes of TLS that are under way.
    handshakes: Crowd,
    /// Time for the first bytes, where they are to tell the protocol, and for a handshake.
    handshake_timeout: Duration,
    processor: Arc<Processor>,
    open_session: OpenSession,
    members: Mutex<BTreeMap<u64, Member>>,
    next_id: AtomicU64,
    accepting: Mutex<Option<JoinHandle<()>>>,
    /// Nothing more is to be waited for.
    abandoned: AtomicBool,
    /// Nobody new is let in.
    stopping: AtomicBool,
    /// Told when that becomes so, for connections whose protocol is not known yet.
    stopped: Notify,
    /// Those that may be given up before others have their turn.
    giving_up: Semaphore,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("protocols", &self.protocols)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// A server of `protocols`, which are looked for in that order; there is at least one.
    #[must_use]
    pub fn new(
        protocols: Vec<Arc<Terms>>,
        bounds: &Bounds,
        processor: Arc<Processor>,
        open_session: OpenSession,
    ) -> Arc<Self> {
        Arc::new(Self {
            protocols,
            seats: Seats::of(bounds.connections),
            handshakes: Crowd::of(bounds.handshakes),
            handshake_timeout: bounds.handshake_timeout,
            processor,
            open_session,
            members: Mutex::default(),
            next_id: AtomicU64::new(1),
            accepting: Mutex::new(None),
            abandoned: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            stopped: Notify::new(),
            giving_up: Semaphore::new(sniffing::GIVEN_UP),
        })
    }

    /// Serves what comes in at `listener`.
    pub fn listen(self: &Arc<Self>, runtime: &Handle, listener: Listener) {
        let task = runtime.spawn(Arc::clone(self).accept(listener, None));
        *locked(&self.accepting) = Some(task);
    }

    /// Serves what comes in at `listener` inside TLS.
    pub fn listen_tls(
        self: &Arc<Self>,
        runtime: &Handle,
        listener: Listener,
        tls: Arc<TlsAcceptor>,
    ) {
        let task = runtime.spawn(Arc::clone(self).accept(listener, Some(tls)));
        *locked(&self.accepting) = Some(task);
    }

    /// Serves one connection that the acceptor brought, once it is secure where it is to be.
    fn receive(
        self: &Arc<Self>,
        runtime: &Handle,
        socket: Socket,
        peer: String,
        tls: Option<&Arc<TlsAcceptor>>,
    ) {
        let Some(tls) = tls else {
            return self.welcome(runtime, Stream::Plain(socket), peer);
        };
        let Some(place) = self.seat(&peer) else {
            return;
        };
        let (server, tls) = (Arc::clone(self), Arc::clone(tls));
        self.host(runtime, place, async move {
            // Apart, so that what a handshake takes is given back when it is over.
            let secured = Box::pin(server.secure(&tls, socket, &peer)).await;
            if let Some((stream, buffer)) = secured {
                server.attend(stream, peer, buffer).await;
            }
        });
    }

    /// Serves one connection to its end; closes it at once where there is no room.
    pub fn welcome(self: &Arc<Self>, runtime: &Handle, stream: Stream, peer: String) {
        let Some(place) = self.seat(&peer) else {
            return;
        };
        let server = Arc::clone(self);
        self.host(runtime, place, async move {
            server.attend(stream, peer, BytesMut::new()).await;
        });
    }

    /// Has a connection live in a task of its own, where a panic stays.
    fn host(
        self: &Arc<Self>,
        runtime: &Handle,
        place: Place,
        life: impl Future<Output = ()> + Send + 'static,
    ) {
        let server = Arc::clone(self);
        runtime.spawn(async move {
            let _place = place;
            if let (Err(panic), Some(terms)) = (contained(life).await, server.protocols.first()) {
                drop(terms.broken_by(&panic));
            }
        });
    }

    /// Serves a connection of which `buffer` was read already.
    async fn attend(self: &Arc<Self>, stream: Stream, peer: String, buffer: BytesMut) {
        let stream = Arc::new(stream);
        // Apart, for the same reason.
        let found = Box::pin(self.find_protocol(&stream, &peer, buffer)).await;
        if let Some((terms, buffer)) = found {
            self.serve(stream, peer, terms, buffer).await;
        }
    }

    async fn serve(
        self: &Arc<Self>,
        stream: Arc<Stream>,
        peer: String,
        terms: Arc<Terms>,
        buffer: BytesMut,
    ) {
        let connection = Connection::new(Arc::clone(&stream), peer, terms);
        let lane = Lane::new((self.open_session)(), Arc::clone(&self.processor));
        let member = Member {
            connection: Arc::clone(&connection),
            lane: Arc::clone(&lane),
        };
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        locked(&self.members).insert(id, member);
        if self.abandoned.load(Ordering::Acquire) {
            // Whoever cut the others may not have seen this one.
            connection.abort(CloseReason::server_stopped());
        }
        // In a place of its own: what is moved on its way into the task is kept there twice.
        Box::pin(connection.run(stream, Arc::clone(&lane), buffer)).await;
        poll_fn(|context| lane.poll_idle(context)).await;
        locked(&self.members).remove(&id);
    }

    /// Whether new connections are let in.
    pub fn is_accepting(&self) -> bool {
        !self.stopping.load(Ordering::Acquire)
    }

    fn members(&self) -> Vec<Member> {
        locked(&self.members).values().cloned().collect()
    }

    /// How many calls wait to be run.
    pub fn queued_calls(&self) -> usize {
        // All protocols of a server have one door.
        match self.protocols.first().map(|terms| &terms.role) {
            Some(Role::Server { admission, .. }) => admission.waiting_calls(),
            Some(Role::Caller { .. }) | None => 0,
        }
    }
}
