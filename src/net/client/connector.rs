//! The connector: makes the channel's connections, one after the other.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout};

use crate::call::{Backoff, CloseKind, CloseReason, Level};
use crate::metrics::Counters;
use crate::net::address::Address;
use crate::net::client::Target;
use crate::net::client::line::{Line, State};
use crate::net::connection::{Connection, locked};
use crate::net::{Socket, Stream};
use crate::status::{Code, Status};

/// Shortest pause between two attempts, whoever is in a hurry.
const HURRY_MIN: Duration = Duration::from_millis(100);
/// How often it is written down that the same server is still away.
const STILL_AWAY: Duration = Duration::from_secs(10);

impl Line {
    /// The connection, made first if there is none.
    ///
    /// # Errors
    /// The channel is closed; or calls are not to wait, and an attempt failed since there were
    /// `failures_before`, or the next one is yet to begin.
    pub(super) async fn connection(
        self: &Arc<Self>,
        failures_before: u64,
    ) -> Result<Arc<Connection>, Status> {
        loop {
            // Armed before the look: a change that comes in between is not missed.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            {
                let mut standing = self.standing();
                match &standing.state {
                    State::Ready(connection) if connection.takes_calls() => {
                        return Ok(Arc::clone(connection));
                    }
                    State::Closed => return Err(self.closed()),
                    State::Idle => {
                        standing.state = State::Connecting;
                        self.runtime.spawn(Arc::clone(self).keep());
                    }
                    State::Connecting | State::Ready(_) => {}
                }
                let failed = standing.failures > failures_before || standing.pausing;
                if failed && !self.options.wait_for_ready {
                    let why = standing.last_error.clone().unwrap_or_default();
                    let text = format!("cannot connect to {}: {why}", self.target);
                    return Err(Status::new(Code::Unavailable, text));
                }
            }
            changed.await;
        }
    }

    /// What keeps the channel from being connected, for a call that ran out of time.
    pub(super) fn obstacle(&self) -> String {
        let standing = self.standing();
        match (&standing.state, &standing.last_error) {
            (State::Ready(connection), _) if connection.takes_calls() => {
                format!("{} does not read what was sent", self.target)
            }
            (_, Some(error)) => format!("cannot connect to {}: {error}", self.target),
            (State::Connecting, None) => format!("the connection to {} is being made", self.target),
            (_, None) => format!("no connection to {} yet", self.target),
        }
    }

    /// Connects, and again after a loss, for as long as somebody needs it.
    async fn keep(self: Arc<Self>) {
        let mut backoff = Backoff::new(self.options.backoff_min, self.options.backoff_max);
        loop {
            let attempt = tokio::select! {
                biased;
                attempt = self.attempt() => attempt,
                () = self.until_closed() => return,
            };
            match attempt {
                Ok(stream) => {
                    let start = Instant::now();
                    let proven = self.hold(stream).await;
                    // A port that accepts and closes is no reason to try at full speed.
                    if proven || start.elapsed() > self.options.backoff_max {
                        backoff.reset();
                    }
                    if !self.options.keep_connected && self.rest() {
                        return;
                    }
                }
                Err(CloseReason { kind, text }) => {
                    if let Some(reason) = kind.refused_by_connection() {
                        self.terms.counters.rejected(reason);
                    }
                    self.log_failure(&text);
                    self.change(|standing| {
                        standing.last_error = Some(text);
                        standing.failures += 1;
                        standing.pausing = true;
                    });
                    let needed = self.waiting.load(Ordering::SeqCst) > 0;
                    if !self.options.keep_connected && !needed && self.rest() {
                        return;
                    }
                }
            }
            tokio::select! {
                biased;
                () = self.pause(backoff.next(fastrand::f64())) => {}
                () = self.until_closed() => return,
            }
            self.standing().pausing = false;
        }
    }

    /// Waits between two attempts, less long when a call cannot wait that long.
    async fn pause(&self, pause: Duration) {
        let hurried = async {
            sleep(self.options.backoff_min.max(HURRY_MIN)).await;
            self.hurry.notified().await;
        };
        tokio::select! {
            biased;
            () = sleep(pause) => {}
            () = hurried => {}
        }
    }

    async fn until_closed(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if matches!(self.standing().state, State::Closed) {
                return;
            }
            changed.await;
        }
    }

    /// Back to doing nothing until the next call; says whether that is so.
    fn rest(&self) -> bool {
        let mut standing = self.standing();
        // A call that counted itself before this lock finds the state it leaves.
        if self.waiting.load(Ordering::SeqCst) > 0 {
            return false;
        }
        if !matches!(standing.state, State::Closed) {
            standing.state = State::Idle;
            standing.pausing = false;
        }
        true
    }

    async fn attempt(&self) -> Result<(Stream, String), CloseReason> {
        let connecting = async {
            match &self.target {
                Target::Address(address) => {
                    let (socket, peer) = reach(address).await.map_err(away)?;
                    Ok((Stream::Plain(socket), peer))
                }
                Target::Secure(address, tls) => {
                    let (socket, peer) = reach(address).await.map_err(away)?;
                    Ok((tls.connect(socket).await?, peer))
                }
                Target::Local(server) => {
                    let (ours, theirs) = UnixStream::pair().map_err(away)?;
                    let server = server.upgrade().filter(|server| server.is_accepting());
                    let server =
                        server.ok_or_else(|| away(io::ErrorKind::ConnectionRefused.into()))?;
                    let peer = self.target.to_string();
                    server.welcome(&self.runtime, Stream::unix(theirs), peer.clone());
                    Ok((Stream::unix(ours), peer))
                }
                Target::Other(other) => {
                    let stream = other.dial().await.map_err(away)?;
                    Ok((stream, self.target.to_string()))
                }
            }
        };
        let limit = self.options.connect_timeout;
        let late = || {
            let text = format!("no answer within {} s", limit.as_secs_f64());
            CloseReason::new(CloseKind::Reset, text)
        };
        timeout(limit, connecting)
            .await
            .unwrap_or_else(|_| Err(late()))
    }

    /// Holds a connection to its end; says whether the peer ever spoke.
    async fn hold(self: &Arc<Self>, (stream, peer): (Stream, String)) -> bool {
        Counters::count(&self.terms.counters.connects);
        let stream = Arc::new(stream);
        let connection = Connection::new(Arc::clone(&stream), peer, Arc::clone(&self.terms));
        let mut closed = false;
        self.change(|standing| {
            closed = matches!(standing.state, State::Closed);
            if !closed {
                standing.state = State::Ready(Arc::clone(&connection));
                standing.last_error = None;
            }
        });
        if closed {
            return true;
        }
        let life = Arc::clone(&connection).run(stream, self.lane(), BytesMut::new());
        let mut life = self.runtime.spawn(life);
        tokio::select! {
            biased;
            // It ends by a panic or a shutdown of the runtime, too, which changes nothing here.
            _ = &mut life => {}
            () = connection.left() => {
                let mut left = locked(&self.left);
                left.retain(|other| other.strong_count() > 0);
                left.push(Arc::downgrade(&connection));
            }
        }
        let ending = connection.ending();
        // That it was closed from here keeps nobody from connecting.
        let closed_here = ending
            .as_ref()
            .is_some_and(|reason| reason.kind == CloseKind::Closed);
        let why = ending.map_or_else(|| "connection lost".to_owned(), |reason| reason.text);
        self.change(|standing| {
            if !matches!(standing.state, State::Closed) {
                standing.state = State::Connecting;
                standing.last_error = (!closed_here).then_some(why);
            }
        });
        connection.was_heard()
    }

    fn log_failure(&self, error: &str) {
        Counters::count(&self.terms.counters.connect_failures);
        {
            let mut standing = self.standing();
            let again = standing.last_error.as_deref() == Some(error);
            let said = standing
                .said
                .filter(|said| again && said.elapsed() < STILL_AWAY);
            if said.is_some() {
                return;
            }
            standing.said = Some(Instant::now());
        }
        let text = format!("connect failed peer={} reason={error:?}", self.target);
        self.terms.journal.write(Level::Warning, text);
    }
}

/// A socket connected to `address`, and where that is.
async fn reach(address: &Address) -> io::Result<(Socket, String)> {
    match address {
        Address::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            let peer = stream.peer_addr()?.to_string();
            Ok((Socket::tcp(stream)?, peer))
        }
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).await?;
            Ok((Socket::Unix(stream), address.to_string()))
        }
    }
}

#[expect(clippy::needless_pass_by_value)]
fn away(error: io::Error) -> CloseReason {
    CloseReason::new(CloseKind::Reset, error.to_string())
}
