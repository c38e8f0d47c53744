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

use bytes::{Bytes, BytesMut};
use tokio::select;
use tokio::time::{Instant, sleep_until, timeout};

use crate::call::{Call, CloseKind, CloseReason, Event, Lane, Level, Link, RejectReason, resolve};
use crate::metrics::Counters;
use crate::net::Stream;
use crate::net::connection::Connection;
use crate::net::outgoing::Left;
use crate::schema::ServiceSchema;
use crate::wire::{Frame, FrameKind, WireError};

/// Bytes of room for one read.
const READ_BYTES: usize = 16 * 1024;
/// Bytes up to which a request is copied out of the buffer it came in.
const SMALL_BODY: usize = 2 * 1024;
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
            self.connection.close();
            self.connection.lose();
        }
    }
}

impl Connection {
    /// Lives until both sides are closed. The socket is closed when this returns.
    pub async fn run(self: Arc<Self>, stream: Arc<Stream>, lane: Arc<Lane>) {
        let link: Arc<dyn Link> = Arc::clone(&self) as _;
        self.terms.counters.connection_opened();
        self.log(Level::Info, "connection opened", "");
        if self.terms.serves() {
            lane.push(&link, [Event::Opened]);
        }
        let mut life = Life {
            connection: &self,
            over: false,
        };
        let reason = self.live(&stream, &lane, &link).await;
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

    async fn live(&self, stream: &Stream, lane: &Arc<Lane>, link: &Arc<dyn Link>) -> CloseReason {
        let mut reading = pin!(self.read(stream, lane, link));
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
        if !clean {
            // A last try for what waits; the connection ends whatever comes of it.
            let _ = self.flush();
            self.close();
            self.lose();
        }
        if self.terms.serves() {
            lane.push(link, [Event::Closed(reason.clone())]);
        } else {
            self.finish(reason.clone());
        }
        if clean && !write_closed {
            // Until the session has run what came in and says that it has nothing more to say.
            select! {
                () = self.aborted.notified() => {
                    self.lose();
                    return self.aborted_reason();
                }
                result = &mut writing => if result.is_err() { self.lose() },
            }
        }
        reason
    }

    /// Whether the user wants it gone; a server that drains is more patient.
    fn is_closed_here(&self) -> bool {
        self.ending()
            .is_some_and(|reason| reason.kind == CloseKind::Closed)
    }

    fn aborted_reason(&self) -> CloseReason {
        self.ending()
            .unwrap_or_else(|| CloseReason::new(CloseKind::Closed, "closed here"))
    }

    /// Reads calls into the lane up to the peer's end of stream.
    async fn read(
        &self,
        stream: &Stream,
        lane: &Arc<Lane>,
        link: &Arc<dyn Link>,
    ) -> Result<(), CloseReason> {
        let schema = if self.terms.serves() {
            Some(self.schema.wait().await)
        } else {
            None
        };
        let mut buffer = BytesMut::new();
        loop {
            std::future::poll_fn(|context| lane.poll_room(context)).await;
            stream.readable().await.map_err(reset)?;
            buffer.reserve(READ_BYTES);
            match stream.try_read(&mut buffer) {
                Ok(0) if buffer.is_empty() => return Ok(()),
                Ok(0) => {
                    return Err(rejected(WireError::Truncated {
                        received: buffer.len(),
                    }));
                }
                Ok(received) => Counters::add(&self.terms.counters.bytes_received, received),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(reset(error)),
            }
            let mut calls = Vec::new();
            let cut = self.cut(&mut buffer, schema.map(|schema| &**schema), &mut calls);
            Counters::add(&self.terms.counters.calls_received, calls.len());
            lane.push(link, calls);
            cut?;
            if buffer.is_empty() {
                // An idle connection keeps no buffer.
                buffer = BytesMut::new();
            }
        }
    }

    /// Cuts the complete frames off `buffer`; those before a bad one count.
    fn cut(
        &self,
        buffer: &mut BytesMut,
        schema: Option<&ServiceSchema>,
        calls: &mut Vec<Event>,
    ) -> Result<(), CloseReason> {
        while let Some(frame) = self
            .terms
            .codec
            .decode(FrameKind::Call, buffer)
            .map_err(rejected)?
        {
            let first = !self.heard.swap(true, Ordering::Relaxed);
            let Some(schema) = schema else {
                self.pass_over(first);
                continue;
            };
            calls.push(Event::Call(admit(schema, frame)?));
        }
        Ok(())
    }

    /// A call to an end that serves nothing: a channel without `service=` only sends, and need
    /// not lose its connection because the other end talks to everybody.
    fn pass_over(&self, first: bool) {
        self.terms.counters.rejected(RejectReason::UnknownMethod);
        if first {
            self.log(
                Level::Warning,
                "call ignored: this channel has no service=",
                "",
            );
        }
    }

    /// Writes what waits until the write side is to be closed, and closes it.
    async fn write(&self, stream: &Stream) -> Result<(), CloseReason> {
        let failed = |error: io::Error| CloseReason::new(CloseKind::WriteFailed, error.to_string());
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

fn admit(schema: &ServiceSchema, frame: Frame) -> Result<Call, CloseReason> {
    match resolve(schema.methods(), &frame) {
        Ok(method) => {
            // A small body that waits must not hold on to the whole buffer it came in.
            let body = if frame.body.len() <= SMALL_BODY {
                Bytes::copy_from_slice(&frame.body)
            } else {
                frame.body
            };
            Ok(Call { method, body })
        }
        Err(refusal) => {
            let kind = CloseKind::Rejected(RejectReason::UnknownMethod);
            Err(CloseReason::new(kind, refusal.to_string()))
        }
    }
}

#[expect(clippy::needless_pass_by_value)]
fn reset(error: io::Error) -> CloseReason {
    CloseReason::new(CloseKind::Reset, error.to_string())
}

fn rejected(error: WireError) -> CloseReason {
    CloseReason::new(CloseKind::Rejected(error.into()), error.to_string())
}
