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
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until, timeout};

use crate::call::{CloseKind, CloseReason, Event, Lane, Level, Link, RejectReason};
use crate::metrics::Counters;
use crate::net::Stream;
use crate::net::admitting::Batch;
use crate::net::connection::{Connection, Role, locked};
use crate::net::outgoing::Left;
use crate::net::panics::contained;
use crate::net::tls;
use crate::wire::tls::{is_hello, looks_like_tls};
use crate::wire::{Frame, Reads, WireError};

/// Bytes of room for one read.
const READ_BYTES: usize = 16 * 1024;
/// Bytes that are read of one connection before others have their turn, should they never end.
const TURN_BYTES: usize = 16 * 1024;
/// Time for a peer to end its side of a connection that was closed from here.
const LINGER: Duration = Duration::from_secs(1);
/// Time in which a peer must read something while bytes wait for it.
const WRITE_STALL: Duration = Duration::from_secs(30);

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
    fn open(&self, lane: &Arc<Lane>, link: &Arc<dyn Link>) {
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

    /// Whether the peer need only be given a moment to end its side: the user wants it gone, or it
    /// was left and nothing is under way on it any more. A server that drains is more patient.
    fn is_closed_here(&self) -> bool {
        let caller = matches!(self.terms.role, Role::Caller { .. });
        caller
            || self.ending().is_some_and(|reason| {
                let refused = CloseKind::Rejected(RejectReason::Unauthenticated);
                reason.kind == CloseKind::Closed || reason.kind == refused
            })
    }

    fn aborted_reason(&self) -> CloseReason {
        self.ending()
            .unwrap_or_else(|| CloseReason::new(CloseKind::Closed, "closed here"))
    }

    /// What the peer's frames can be. Where the peer said that it serves, answers come too.
    fn reads(&self) -> Reads {
        let traits = self.traits();
        let both = match &self.terms.role {
            Role::Server { .. } => self.calling.peer_serves(),
            Role::Caller { .. } => self.terms.serves(),
        };
        match &self.terms.role {
            _ if traits.both_ways && both => Reads::Both,
            Role::Caller { .. } if self.answers() => Reads::Replies,
            Role::Server { .. } | Role::Caller { .. } => Reads::Calls,
        }
    }

    /// Reads frames up to the peer's end of stream.
    async fn read(
        self: &Arc<Self>,
        stream: &Stream,
        lane: &Arc<Lane>,
        link: &Arc<dyn Link>,
        mut buffer: BytesMut,
    ) -> Result<(), CloseReason> {
        if self.opened.load(Ordering::Acquire) {
            // Nothing is read before the session knows what it serves.
            self.registry.wait().await;
        }
        let (mut usual, mut turn) = (0, 0);
        loop {
            // As many as came the last time.
            let mut batch = Batch::new(lane, usual);
            let cut = self.cut(&mut buffer, lane, link, &mut batch).await;
            let cut = self.unless_tls(cut, &buffer);
            usual = batch.calls.len();
            Counters::add(&self.terms.counters.calls_received, usual);
            lane.push(link, batch.calls);
            cut?;
            if buffer.is_empty() {
                // An idle connection keeps no buffer.
                buffer = BytesMut::new();
            }
            std::future::poll_fn(|context| lane.poll_room(context)).await;
            self.until_read().await;
            if turn >= TURN_BYTES {
                // A socket that always has more would keep this task, and this thread, to itself.
                yield_now().await;
                turn = 0;
            }
            loop {
                stream.readable().await.map_err(reset)?;
                buffer.reserve(READ_BYTES);
                match stream.try_read(&mut buffer) {
                    Ok(0) if buffer.is_empty() => return Ok(()),
                    Ok(0) => {
                        let received = buffer.len();
                        let truncated = Err(rejected(WireError::Truncated { received }));
                        return self.unless_tls(truncated, &buffer);
                    }
                    // Each frame says how long it is: between two of them nothing can be missing.
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        return cut_off(&buffer);
                    }
                    Ok(received) => {
                        Counters::add(&self.terms.counters.bytes_received, received);
                        turn += received;
                        break;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(reset(error)),
                }
            }
        }
    }

    /// What became of the first bytes of a peer, unless it is that they are TLS.
    fn unless_tls(
        &self,
        became: Result<(), CloseReason>,
        buffer: &[u8],
    ) -> Result<(), CloseReason> {
        let is_tls = match became {
            // It could be a frame of which more is to come, and would be one that is like no other.
            Ok(()) => is_hello(buffer),
            Err(_) => looks_like_tls(buffer),
        };
        if !is_tls || self.was_heard() || self.tls.is_some() {
            return became;
        }
        let text = match self.terms.role {
            Role::Server { .. } => "a TLS client, and no TLS is spoken at this port",
            Role::Caller { .. } => "the server speaks TLS, and this channel does not; give it tls=",
        };
        let kind = CloseKind::Rejected(RejectReason::TlsUnexpected);
        Err(CloseReason::new(kind, text))
    }

    /// Ready when the peer has read enough of its answers to be given more of them, and not too many
    /// wait for their turn. A caller goes on reading in any case, so that never both ends wait for
    /// each other.
    async fn until_read(&self) {
        if matches!(self.terms.role, Role::Caller { .. }) || !self.answers() {
            return;
        }
        loop {
            let mut room = pin!(self.room.notified());
            room.as_mut().enable();
            if !self.has_much_to_say() {
                return;
            }
            room.await;
        }
    }

    /// Cuts the complete frames off `buffer`; those before a bad one count.
    async fn cut(
        self: &Arc<Self>,
        buffer: &mut BytesMut,
        lane: &Arc<Lane>,
        link: &Arc<dyn Link>,
        batch: &mut Batch<'_>,
    ) -> Result<(), CloseReason> {
        loop {
            let decoded = self.terms.codec.decode(self.reads(), buffer);
            let Some(frame) = decoded.map_err(rejected)? else {
                return Ok(());
            };
            let first = !self.heard.swap(true, Ordering::Relaxed);
            match frame {
                _ if self.is_turned_away() => {}
                Frame::Reply(reply) => self.complete(reply)?,
                Frame::Call(mut call) => {
                    if !self.terms.serves() {
                        self.pass_over(first);
                        continue;
                    }
                    if first {
                        self.be_greeted(&mut call.extras);
                        self.open(lane, link);
                    }
                    let registry = match self.registry.get() {
                        Some(registry) => registry,
                        None => self.registry.wait().await,
                    };
                    if first && let Err(status) = self.authenticate(&call.extras, lane, link).await
                    {
                        self.turn_away(call.id, status);
                        continue;
                    }
                    if let Some(admitted) = self.admit(call, registry, batch)? {
                        batch.calls.push(Event::Call(admitted));
                    }
                }
            }
        }
    }

    /// Writes what waits until the write side is to be closed, and closes it.
    async fn write(&self, stream: &Stream) -> Result<(), CloseReason> {
        let failed = |error: io::Error| {
            let kind = CloseKind::WriteFailed;
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
                    let Ok(ready) = timeout(WRITE_STALL, stream.writable()).await else {
                        let text = format!("the peer read nothing for {} s", WRITE_STALL.as_secs());
                        return Err(CloseReason::new(CloseKind::WriteFailed, text));
                    };
                    ready.map_err(failed)?;
                }
            }
        }
    }
}

/// The end of a stream that TLS did not announce.
fn cut_off(buffer: &[u8]) -> Result<(), CloseReason> {
    if buffer.is_empty() {
        return Ok(());
    }
    let text = format!(
        "the stream was cut off after {} bytes of a frame, without the end of TLS (close_notify)",
        buffer.len()
    );
    let kind = CloseKind::Rejected(RejectReason::Truncated);
    Err(CloseReason::new(kind, text))
}

#[expect(clippy::needless_pass_by_value)]
fn reset(error: io::Error) -> CloseReason {
    tls::of_connection(&error)
        .unwrap_or_else(|| CloseReason::new(CloseKind::Reset, error.to_string()))
}

fn rejected(error: WireError) -> CloseReason {
    CloseReason::new(CloseKind::Rejected(error.into()), error.to_string())
}
