//! What one connection still has to write.
//!
//! A frame is written by the thread that makes it, at once and in one system call, when nothing
//! else waits; only what the socket did not take is copied and left to the connection's task. The
//! room for that is bounded.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem;
use std::sync::Arc;

use crate::net::Stream;
use crate::net::rope::Rope;

/// Bytes that may wait for one peer to read them.
pub(crate) const UNWRITTEN_BYTES: usize = 4 * 1024 * 1024;
/// Bytes handed to the socket in one call when several frames wait.
const WRITE_BYTES: usize = 256 * 1024;
/// Bytes up to which frames are held back; more are written at once.
const HELD_BYTES: usize = 64 * 1024;

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// The socket took it whole.
    Written,
    /// Some of it waits for the connection's task.
    Waiting,
    /// It is held back for the end of a batch.
    Held {
        /// Nobody knows yet that this connection is to be flushed then.
        first: bool,
    },
    /// Too much waits; the frame was not taken.
    Full {
        /// Bytes that wait.
        unwritten: usize,
    },
    /// The connection takes nothing more.
    Gone,
}

/// A frame to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chunks<'a> {
    /// What stands before the message.
    pub(crate) head: &'a [u8],
    /// The message.
    pub(crate) body: &'a [u8],
    /// What stands after it.
    pub(crate) tail: &'a [u8],
    /// What it is.
    pub(crate) kind: Kind,
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A call, with its number if it may be taken back while nothing of it is written.
    Call(Option<u64>),
    /// An answer.
    Reply,
}

/// Frames that were not written whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unsent {
    /// Calls.
    pub(crate) calls: usize,
    /// Answers.
    pub(crate) replies: usize,
}

impl Chunks<'_> {
    /// Bytes of it.
    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.body.len() + self.tail.len()
    }
}

/// A frame that waits.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    /// Bytes of it that are still unwritten.
    left: usize,
    /// Whether some of it was written.
    begun: bool,
    kind: Kind,
}

/// What is left after writing as much as the socket takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing, and more may come.
    Nothing,
    /// Nothing, and nothing more may come.
    Finished,
    /// Something; the socket is full.
    Something,
}

/// The unwritten frames of one connection; the connection keeps it behind its lock.
#[expect(clippy::struct_excessive_bools)] // each is a question of its own
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// `None` when the connection is gone.
    stream: Option<Arc<Stream>>,
    waiting: Rope,
    frames: VecDeque<Waiting>,
    coalesce: bool,
    finished: bool,
    /// What waits is held back, and not for want of room in the socket.
    held: bool,
    /// Somebody will call [`Outgoing::uncork`].
    corked: bool,
}

impl Outgoing {
    pub(crate) fn new(stream: Arc<Stream>, coalesce: bool) -> Self {
        Self {
            stream: Some(stream),
            waiting: Rope::default(),
            frames: VecDeque::new(),
            coalesce,
            finished: false,
            held: false,
            corked: false,
        }
    }

    /// Whether there is a socket.
    pub(crate) fn is_alive(&self) -> bool {
        self.stream.is_some()
    }

    /// Whether frames are still taken.
    pub(crate) fn is_open(&self) -> bool {
        self.stream.is_some() && !self.finished
    }

    /// Whether everything taken so far was written.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether the peer has ended its side, maybe before the connection's task knows of it.
    pub(crate) fn is_ended_by_peer(&self) -> bool {
        self.stream.as_ref().is_none_or(|stream| stream.is_ended())
    }

    /// How many bytes wait.
    pub(crate) fn unwritten(&self) -> usize {
        self.waiting.len()
    }

    /// Takes one frame, and says how many bytes went out at once. With `bounded`, it is not taken
    /// when too much waits; with `hold`, it may wait for the end of a batch.
    pub(crate) fn push(
        &mut self,
        frame: &Chunks<'_>,
        bounded: bool,
        hold: bool,
    ) -> (Accepted, usize) {
        let Some(stream) = self.stream.as_ref().filter(|_| !self.finished) else {
            return (Accepted::Gone, 0);
        };
        let unwritten = self.waiting.len();
        let hold = hold && unwritten + frame.len() <= HELD_BYTES;
        let parts = [frame.head, frame.body, frame.tail];
        let mut written = 0;
        if unwritten == 0 && !hold {
            // An error shows again to the connection's task, which then ends the connection.
            written = stream.try_write(&parts.map(IoSlice::new)).unwrap_or(0);
            if written == frame.len() {
                // TLS may keep some of it, which is the task's to write.
                let flushed = stream.is_flushed();
                let accepted = if flushed {
                    Accepted::Written
                } else {
                    Accepted::Waiting
                };
                return (accepted, written);
            }
        } else if bounded && unwritten + frame.len() > UNWRITTEN_BYTES {
            return (Accepted::Full { unwritten }, 0);
        }
        self.append(&parts, written, frame.kind);
        if unwritten > 0 && !self.held || written > 0 || unwritten == 0 && !hold {
            return (Accepted::Waiting, written);
        }
        if hold {
            self.held = true;
            let first = !mem::replace(&mut self.corked, true);
            return (Accepted::Held { first }, written);
        }
        // Behind frames that are held back, and not held back itself.
        let (left, written) = self.flush();
        match left {
            Ok(Left::Nothing | Left::Finished) => (Accepted::Written, written),
            Ok(Left::Something) | Err(_) => (Accepted::Waiting, written),
        }
    }

    /// Adds a frame to what waits, of which the first bytes are written already.
    fn append(&mut self, parts: &[&[u8]; 3], written: usize, kind: Kind) {
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        self.waiting.add(parts, written);
        self.frames.push_back(Waiting {
            left: len - written,
            begun: written > 0,
            kind,
        });
    }

    /// Whether a call that is handed over now would wait for the end of a batch, when it is looked
    /// once more whether the peer is there.
    pub(crate) fn is_corked(&self) -> bool {
        self.corked
    }

    /// The end of the batch for which something was held back.
    pub(crate) fn uncork(&mut self) {
        self.corked = false;
    }

    /// Writes what the socket takes, and says how many bytes that were.
    pub(crate) fn flush(&mut self) -> (io::Result<Left>, usize) {
        let mut total = 0;
        let Some(stream) = self.stream.clone() else {
            return (Ok(Left::Finished), 0);
        };
        self.held = false;
        if self.finished && !self.frames.is_empty() {
            stream.gather();
        }
        while let Some(first) = self.frames.front() {
            let most = if self.coalesce {
                WRITE_BYTES
            } else {
                first.left
            };
            let write = |slices: &[IoSlice<'_>]| stream.try_write(slices);
            match self.waiting.with_first(most, write) {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), total),
                Ok(written) => {
                    total += written;
                    self.forget(written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return (Ok(Left::Something), total);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (Err(error), total),
            }
        }
        let left = match stream.try_flush(self.finished) {
            Ok(()) if self.finished => {
                // It fails when the peer is gone already, which the reading will find.
                let _ = stream.shutdown_write();
                Ok(Left::Finished)
            }
            Ok(()) => Ok(Left::Nothing),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Left::Something),
            Err(error) => Err(error),
        };
        (left, total)
    }

    fn forget(&mut self, mut written: usize) {
        self.waiting.advance(written);
        while let Some(first) = self.frames.front_mut() {
            if first.left > written {
                first.left -= written;
                first.begun |= written > 0;
                return;
            }
            written -= first.left;
            self.frames.pop_front();
        }
    }

    /// Whether the peer has sent something that was not read.
    pub(crate) fn has_unread(&self) -> bool {
        self.stream
            .as_ref()
            .is_some_and(|stream| stream.has_unread())
    }

    /// Takes no more frames; what waits is still written, and then our end of stream.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }

    /// Takes back the calls of which nothing was written, and says which they are.
    pub(crate) fn take_back(&mut self) -> Vec<u64> {
        let mut taken = Vec::new();
        let mut kept = Rope::default();
        for frame in mem::take(&mut self.frames) {
            let bytes = self.waiting.take_piece(frame.left);
            match frame.kind {
                Kind::Call(Some(call)) if !frame.begun => taken.push(call),
                _ => {
                    kept.add(&[&bytes], 0);
                    self.frames.push_back(frame);
                }
            }
        }
        self.waiting = kept;
        taken
    }

    /// Lets go of the socket and says what was not written whole.
    pub(crate) fn close(&mut self) -> Unsent {
        if let Some(stream) = self.stream.take() {
            // A peer that is still there learns that this is the end and no loss.
            let _ = stream.try_flush(true);
        }
        self.waiting = Rope::default();
        let frames = mem::take(&mut self.frames);
        let replies = frames
            .iter()
            .filter(|frame| frame.kind == Kind::Reply)
            .count();
        Unsent {
            calls: frames.len() - replies,
            replies,
        }
    }
}

#[cfg(test)]
mod tests;
