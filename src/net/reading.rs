//! How a connection reads: from bytes to frames, and who is let know of them.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::BytesMut;
use tokio::task::yield_now;

use crate::call::{CloseKind, CloseReason, Event, Lane, Link, RejectReason};
use crate::metrics::Counters;
use crate::net::Stream;
use crate::net::admitting::Batch;
use crate::net::connection::Connection;
use crate::net::cork;
use crate::net::spare;
use crate::net::terms::Role;
use crate::net::tls;
use crate::wire::tls::{is_hello, looks_like_tls};
use crate::wire::{Frame, Reads, WireError};

/// Bytes that are read of one connection before others have their turn, should they never end.
const TURN_BYTES: usize = 16 * 1024;
/// Frames that are cut off before that: what takes time is them, where they are small.
const TURN_FRAMES: usize = 64;

/// Whether there may be more frames in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Frames,
    Nothing,
}

impl Connection {
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
    pub(super) async fn read(
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
            self.terms.driver.count_frames(batch.frames);
            let cut = self.unless_tls(cut, &buffer);
            usual = batch.calls.len();
            // Before anybody is told of a refusal.
            Counters::add(&self.terms.counters.calls_received, usual);
            if batch.frames > usual as u64 && !cork::holds_back() {
                self.uncork();
            }
            lane.push(link, batch.calls);
            let left = cut?;
            if buffer.is_empty() {
                spare::take_room(&mut buffer);
            }
            std::future::poll_fn(|context| lane.poll_room(context)).await;
            self.until_read().await;
            if turn >= TURN_BYTES || left == Left::Frames {
                // A socket that always has more would keep this task, and this thread, to itself.
                yield_now().await;
                turn = 0;
            }
            if left == Left::Frames {
                continue;
            }
            if !buffer.is_empty() {
                self.await_rest(buffer.len());
            }
            loop {
                stream.readable().await.map_err(reset)?;
                spare::make_room(&mut buffer);
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
                        self.rest_came();
                        self.stir();
                        Counters::add(&self.terms.counters.bytes_received, received);
                        turn += received;
                        break;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        if buffer.is_empty() {
                            spare::take_room(&mut buffer);
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(reset(error)),
                }
            }
        }
    }

    /// What became of the first bytes of a peer, unless it is that they are TLS.
    fn unless_tls<T>(
        &self,
        became: Result<T, CloseReason>,
        buffer: &[u8],
    ) -> Result<T, CloseReason> {
        let is_tls = match became {
            // It could be a frame of which more is to come, and would be one that is like no other.
            Ok(_) => is_hello(buffer),
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
        while self.has_much_to_say() {
            let mut room = pin!(self.room.notified());
            room.as_mut().enable();
            // It may have been read in between.
            if self.has_much_to_say() {
                room.await;
            }
        }
    }

    /// Cuts complete frames off `buffer`, as many as make a turn; those before a bad one count.
    async fn cut(
        self: &Arc<Self>,
        buffer: &mut BytesMut,
        lane: &Arc<Lane>,
        link: &Arc<dyn Link>,
        batch: &mut Batch<'_>,
    ) -> Result<Left, CloseReason> {
        for _ in 0..TURN_FRAMES {
            let decoded = self.terms.codec.decode(self.reads(), buffer);
            let Some(frame) = decoded.map_err(rejected)? else {
                return Ok(Left::Nothing);
            };
            batch.frames += 1;
            let first = !self.was_heard();
            if first {
                self.heard.store(true, Ordering::Relaxed);
            }
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
                    // Refusals of one read leave in one write.
                    let admitted = cork::holding_back(|| self.admit(call, registry, batch))?;
                    if let Some(admitted) = admitted {
                        batch.calls.push(Event::Call(admitted));
                    }
                }
            }
        }
        Ok(if buffer.is_empty() {
            Left::Nothing
        } else {
            Left::Frames
        })
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
