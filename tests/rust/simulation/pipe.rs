//! Connections in memory: two ways, whose bytes arrive when somebody carries them.

use std::io::{self, ErrorKind, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use _core::net::Transport;
use bytes::{Buf as _, Bytes, BytesMut};

/// What goes one way.
#[expect(clippy::struct_excessive_bools)] // each is a question of its own
#[derive(Debug, Default)]
struct Traffic {
    /// Written and under way.
    sent: BytesMut,
    /// There to be read.
    arrived: BytesMut,
    /// Bytes of both that there is room for.
    room: usize,
    /// Nobody need carry: what is written is there.
    carries_itself: bool,
    /// The writer has said its end.
    finished: bool,
    /// Its end has arrived.
    ended: bool,
    /// Nobody reads any more.
    unread: bool,
    /// How it broke.
    broken: Option<ErrorKind>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    carrier: Option<Waker>,
}

impl Traffic {
    fn free(&self) -> usize {
        self.room
            .saturating_sub(self.sent.len() + self.arrived.len())
    }

    fn wake_all(&mut self) {
        for waiting in [&mut self.reader, &mut self.writer, &mut self.carrier] {
            if let Some(waiting) = waiting.take() {
                waiting.wake();
            }
        }
    }
}

/// What a carrier finds to carry.
#[derive(Debug)]
pub(crate) enum Load {
    Bytes(Bytes),
    /// The end, after all bytes.
    End,
    /// Nothing, now or ever.
    Broken,
}

/// One way of a connection.
#[derive(Debug)]
pub(crate) struct Way(Mutex<Traffic>);

impl Way {
    fn new(room: usize, carries_itself: bool) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Traffic {
            room,
            carries_itself,
            ..Traffic::default()
        })))
    }

    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.0.lock().unwrap()
    }

    /// Takes at most `most` bytes on the way, or the end.
    pub(crate) fn poll_take(&self, most: usize, context: &mut Context<'_>) -> Poll<Load> {
        let mut traffic = self.traffic();
        if traffic.broken.is_some() {
            return Poll::Ready(Load::Broken);
        }
        if !traffic.sent.is_empty() {
            let most = most.min(traffic.sent.len());
            return Poll::Ready(Load::Bytes(traffic.sent.split_to(most).freeze()));
        }
        if traffic.finished {
            return Poll::Ready(Load::End);
        }
        traffic.carrier = Some(context.waker().clone());
        Poll::Pending
    }

    /// Lets bytes arrive.
    pub(crate) fn deliver(&self, bytes: &[u8]) {
        let mut traffic = self.traffic();
        if traffic.broken.is_none() && !traffic.ended {
            traffic.arrived.extend_from_slice(bytes);
            traffic.wake_all();
        }
    }

    /// Lets the end arrive.
    pub(crate) fn end(&self) {
        let mut traffic = self.traffic();
        traffic.ended = true;
        traffic.wake_all();
    }

    /// Breaks it, and takes along what is on the way and what was not read.
    pub(crate) fn snap(&self, how: ErrorKind) {
        let mut traffic = self.traffic();
        traffic.broken.get_or_insert(how);
        traffic.sent.clear();
        traffic.arrived.clear();
        traffic.wake_all();
    }

    /// Whether nothing of it is of use any more.
    pub(crate) fn is_over(&self) -> bool {
        let traffic = self.traffic();
        traffic.broken.is_some() || traffic.ended
    }
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct End {
    incoming: Arc<Way>,
    outgoing: Arc<Way>,
}

impl Transport for End {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut traffic = self.incoming.traffic();
        if traffic.arrived.is_empty() && !traffic.ended && traffic.broken.is_none() {
            traffic.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        let mut traffic = self.incoming.traffic();
        if let Some(broken) = traffic.broken {
            return Err(broken.into());
        }
        if traffic.arrived.is_empty() {
            return if traffic.ended {
                Ok(0)
            } else {
                Err(ErrorKind::WouldBlock.into())
            };
        }
        let room = buffer.capacity() - buffer.len();
        let most = traffic.arrived.len().min(room.max(1));
        buffer.extend_from_slice(&traffic.arrived[..most]);
        traffic.arrived.advance(most);
        if let Some(writer) = traffic.writer.take() {
            writer.wake();
        }
        Ok(most)
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut traffic = self.outgoing.traffic();
        if traffic.free() == 0 && traffic.broken.is_none() && !traffic.unread {
            traffic.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut traffic = self.outgoing.traffic();
        if let Some(broken) = traffic.broken {
            return Err(broken.into());
        }
        if traffic.unread || traffic.finished {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let mut free = traffic.free();
        if free == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut written = 0;
        for part in parts {
            let taken = &part[..part.len().min(free)];
            if traffic.carries_itself {
                traffic.arrived.extend_from_slice(taken);
            } else {
                traffic.sent.extend_from_slice(taken);
            }
            free -= taken.len();
            written += taken.len();
        }
        let waiting = if traffic.carries_itself {
            traffic.reader.take()
        } else {
            traffic.carrier.take()
        };
        if let Some(waiting) = waiting {
            waiting.wake();
        }
        Ok(written)
    }

    fn is_ended(&self) -> bool {
        let traffic = self.incoming.traffic();
        traffic.ended && traffic.arrived.is_empty()
    }

    fn shutdown_write(&self) -> io::Result<()> {
        let mut traffic = self.outgoing.traffic();
        traffic.finished = true;
        traffic.ended |= traffic.carries_itself;
        traffic.wake_all();
        Ok(())
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let unread = {
            let mut traffic = self.incoming.traffic();
            traffic.unread = true;
            let unread = !traffic.arrived.is_empty();
            traffic.wake_all();
            unread
        };
        // What a system does that still has bytes for a socket that is closed.
        if unread {
            self.incoming.snap(ErrorKind::BrokenPipe);
            self.outgoing.snap(ErrorKind::ConnectionReset);
        } else {
            drop(self.shutdown_write());
        }
    }
}

/// A connection whose ways have room for so many bytes: both ends, then the way from the first to
/// the second and the way back. With `carried`, somebody must carry what is written.
pub(crate) fn pipe(room: usize, carried: bool) -> (End, End, [Arc<Way>; 2]) {
    let (there, back) = (Way::new(room, !carried), Way::new(room, !carried));
    let near = End {
        incoming: Arc::clone(&back),
        outgoing: Arc::clone(&there),
    };
    let far = End {
        incoming: Arc::clone(&there),
        outgoing: Arc::clone(&back),
    };
    (near, far, [there, back])
}
