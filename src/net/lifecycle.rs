//! The life of a connection, from its first byte to its last.
//!
//! Reading and writing go on side by side. The peer's end of stream ends only the reading: calls
//! that came before it still run, and what they call back is still written. Everything else that
//! ends a connection ends both at once.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use tokio::select;
use tokio::time::{Instant, sleep_until, timeout};

use crate::call::{CloseKind, CloseReason, Event, Lane, Level, Link, RejectReason};
use crate::net::Stream;
use crate::net::connection::{Connection, locked};
use crate::net::outgoing::Left;
use crate::net::panics::contained;
use crate::net::terms::Role;

/// Time for a peer to end its side of a connection that was closed from here.
const LINGER: Duration = Duration::from_secs(1);

/// Closes a connection whose task is dropped under it, as it is when the runtime stops: nobody
/// is left then to write what is still handed to it.
struct Life<'a> {
    connection: &'a Connection,
    over: bool,
}

impl Drop for Life<'_> {
    fn drop(&mut self) {
        if !self.over {
            let reason = CloseReason::new(CloseKind::Closed, "callmethod was shut down");
            self.connection.fail_calls(&reason);
            self.connection.close();
            self.connection.lose();
        }
    }
}

impl Connection {
    /// Lives until both sides are closed; `buffer` is what was read already. The socket is closed
    /// when this returns.
    pub async fn run(self: Arc<Self>, stream: Arc<Stream>, lane: Arc<Lane>, buffer: BytesMut) {
        let link: Arc<dyn Link> = Arc::clone(&self) as _;
        self.terms.counters.connection_opened();
        self.log(Level::Info, "connection opened", "");
        stream.grant(self.terms.timeouts.write);
        // Set once: a connection lives once.
        let _ = self.lane.set(Arc::downgrade(&lane));
        if self.traits().concurrent {
            lane.widen(self.traits().failures);
        }
        // What was read already holds the beginning of a first call, which may say whether its
        // caller can be called back: the session is to know that from the start.
        if buffer.is_empty() || !self.traits().metadata {
            self.open(&lane, &link);
        }
        let mut life = Life {
            connection: &self,
            over: false,
        };
        let living = async {
            select! {
                biased;
                reason = self.live(&stream, &lane, &link, buffer) => reason,
                never = self.keep_time() => match never {},
            }
        };
        let reason = contained(living).await.unwrap_or_else(|panic| {
            let reason = self.terms.broken_by(&panic);
            self.break_down(&lane, &link, &reason);
            reason
        });
        life.over = true;
        self.close();
        self.terms.counters.connection_closed(reason.kind);
        let level = match reason.kind.refused_by_connection() {
            Some(_) => Level::Warning,
            None => Level::Info,
        };
        let more = format!(" kind={} reason={:?}", reason.kind.label(), reason.text);
        self.log(level, "connection closed", &more);
    }

    /// Tells the session that the connection is there, once.
    pub(super) fn open(&self, lane: &Arc<Lane>, link: &Arc<dyn Link>) {
        if self.terms.serves() && !self.opened.swap(true, Ordering::AcqRel) {
            lane.push(link, [Event::Opened]);
        }
    }

    async fn live(
        self: &Arc<Self>,
        stream: &Stream,
        lane: &Arc<Lane>,
        link: &Arc<dyn Link>,
        buffer: BytesMut,
    ) -> CloseReason {
        let mut reading = pin!(self.read(stream, lane, link, buffer));
        let mut writing = pin!(self.write(stream));
        let mut write_closed = false;
        let mut patience_ends = None;
        let (reason, clean) = loop {
            select! {
                biased;
                () = self.aborted.notified() => break (self.aborted_reason(), false),
                result = &mut writing, if !write_closed => match result {
                    Ok(()) => {
                        write_closed = true;
                        patience_ends = self.is_closed_here().then(|| Instant::now() + LINGER);
                    }
                    Err(reason) => break (reason, false),
                },
                () = sleep_until(patience_ends.unwrap_or_else(Instant::now)),
                    if patience_ends.is_some() => break (self.aborted_reason(), false),
                ended = &mut reading => break match ended {
                    Ok(()) => (self.ending().unwrap_or_else(CloseReason::peer_closed), true),
                    Err(reason) => (reason, false),
                },
            }
        };
        if self.answers() {
            // Nothing is read any more, so no answer can come.
            self.leave();
            self.fail_calls(&reason);
        }
        if !clean || self.has_nothing_to_say() {
            // A last try for what waits; the connection ends whatever comes of it.
            let _ = self.flush();
            self.close();
            self.lose();
        }
        self.take_leave(lane, link, &reason);
        if clean && !write_closed && self.is_alive() {
            // Until the session has run what came in and says that it has nothing more to say.
            select! {
                biased;
                () = self.aborted.notified() => {
                    self.lose();
                    return self.aborted_reason();
                }
                // It ended its side in good order, and died afterwards.
                () = stream.broken() => self.lose(),
                result = &mut writing => if result.is_err() { self.lose() },
            }
        }
        reason
    }

    /// Tells the session, if it was told of the connection, that there is nothing more to read.
    fn take_leave(&self, lane: &Arc<Lane>, link: &Arc<dyn Link>, reason: &CloseReason) {
        if self.opened.swap(false, Ordering::AcqRel) {
            lane.push(link, [Event::Closed(reason.clone())]);
        } else {
            self.finish(reason.clone());
        }
    }

    /// Ends at once, wherever it stood.
    fn break_down(&self, lane: &Arc<Lane>, link: &Arc<dyn Link>, reason: &CloseReason) {
        locked(&self.ending).get_or_insert_with(|| reason.clone());
        self.leave();
        self.fail_calls(reason);
        self.close();
        self.lose();
        self.take_leave(lane, link, reason);
    }

    /// Whether, once nothing is read any more, nothing need be written either: a caller only asks.
    fn has_nothing_to_say(&self) -> bool {
        let caller = matches!(self.terms.role, Role::Caller { .. });
        caller && self.answers() && !self.terms.serves()
    }

    /// Whether the peer need only be given a moment to end its side: the user wants it gone, or
    /// nothing is under way on it any more. A server that drains is more patient.
    fn is_closed_here(&self) -> bool {
        let caller = matches!(self.terms.role, Role::Caller { .. });
        caller
            || self.ending().is_some_and(|reason| {
                let refused = CloseKind::Rejected(RejectReason::Unauthenticated);
                let here = [CloseKind::Closed, CloseKind::IdleTimeout, refused];
                here.contains(&reason.kind)
            })
    }

    fn aborted_reason(&self) -> CloseReason {
        self.ending()
            .unwrap_or_else(|| CloseReason::new(CloseKind::Closed, "closed here"))
    }

    /// Writes what waits until the write side is to be closed, and closes it.
    async fn write(&self, stream: &Stream) -> Result<(), CloseReason> {
        let failed = |error: io::Error| {
            let kind = match error.kind() {
                // The system was told how long that may take, see `Socket::tcp`.
                io::ErrorKind::TimedOut => CloseKind::WriteTimeout,
                _ => CloseKind::WriteFailed,
            };
            stream
                .last_words()
                .unwrap_or_else(|| CloseReason::new(kind, error.to_string()))
        };
        loop {
            match self.flush().map_err(failed)? {
                Left::Finished => {
                    // It fails when the peer is gone already, which the reading will find.
                    let _ = stream.shutdown_write();
                    return Ok(());
                }
                Left::Nothing => self.wake_writer.notified().await,
                Left::Something => {
                    let limit = self.terms.timeouts.write;
                    let Ok(ready) = timeout(limit, stream.writable()).await else {
                        let text = format!("the peer read nothing for {} s", limit.as_secs_f64());
                        return Err(CloseReason::new(CloseKind::WriteTimeout, text));
                    };
                    ready.map_err(failed)?;
                }
            }
        }
    }
}
