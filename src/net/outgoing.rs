//! What one connection still has to write.
//!
//! A frame is written by the thread that makes it, at once and in one system call, when nothing
//! else waits; only what the socket did not take is copied and left to the connection's task. The
//! room for that is bounded.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::{Buf as _, BytesMut};

use crate::net::Stream;

/// Bytes that may wait for one peer to read them.
pub(crate) const UNWRITTEN_BYTES: usize = 4 * 1024 * 1024;
/// Bytes handed to the socket in one call when several frames wait.
const WRITE_BYTES: usize = 256 * 1024;

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// The socket took it whole.
    Written,
    /// Some of it waits for the connection's task.
    Waiting,
    /// Too much waits; the frame was not taken.
    Full {
        /// Bytes that wait.
        unwritten: usize,
    },
    /// The connection takes nothing more.
    Gone,
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
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// `None` when the connection is gone.
    stream: Option<Arc<Stream>>,
    waiting: BytesMut,
    /// Bytes that are still unwritten of each waiting frame, in order.
    frames: VecDeque<usize>,
    coalesce: bool,
    finished: bool,
}

impl Outgoing {
    pub(crate) fn new(stream: Arc<Stream>, coalesce: bool) -> Self {
        Self {
            stream: Some(stream),
            waiting: BytesMut::new(),
            frames: VecDeque::new(),
            coalesce,
            finished: false,
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

    /// Takes one frame, and says how many bytes went out at once.
    pub(crate) fn push(&mut self, head: &[u8], body: &[u8]) -> (Accepted, usize) {
        let Some(stream) = self.stream.as_ref().filter(|_| !self.finished) else {
            return (Accepted::Gone, 0);
        };
        let frame = head.len() + body.len();
        let mut written = 0;
        if self.waiting.is_empty() {
            // An error shows again to the connection's task, which then ends the connection.
            let parts = [IoSlice::new(head), IoSlice::new(body)];
            written = stream.try_write(&parts).unwrap_or(0);
            if written == frame {
                return (Accepted::Written, written);
            }
        } else if self.waiting.len() + frame > UNWRITTEN_BYTES {
            return (
                Accepted::Full {
                    unwritten: self.waiting.len(),
                },
                0,
            );
        }
        self.waiting.reserve(frame - written);
        self.waiting
            .extend_from_slice(head.get(written..).unwrap_or_default());
        let sent = written.saturating_sub(head.len());
        self.waiting
            .extend_from_slice(body.get(sent..).unwrap_or_default());
        self.frames.push_back(frame - written);
        (Accepted::Waiting, written)
    }

    /// Writes what the socket takes, and says how many bytes that were.
    pub(crate) fn flush(&mut self) -> (io::Result<Left>, usize) {
        let mut total = 0;
        let Some(stream) = self.stream.clone() else {
            return (Ok(Left::Finished), 0);
        };
        while let Some(&first) = self.frames.front() {
            let most = if self.coalesce { WRITE_BYTES } else { first };
            let chunk = self.waiting.get(..most).unwrap_or(&self.waiting);
            match stream.try_write(&[IoSlice::new(chunk)]) {
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
        self.waiting = BytesMut::new();
        (
            Ok(if self.finished {
                Left::Finished
            } else {
                Left::Nothing
            }),
            total,
        )
    }

    fn forget(&mut self, mut written: usize) {
        self.waiting.advance(written);
        while let Some(first) = self.frames.front_mut() {
            if *first > written {
                *first -= written;
                return;
            }
            written -= *first;
            self.frames.pop_front();
        }
    }

    /// Takes no more frames; what waits is still written.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }

    /// Lets go of the socket and says how many frames were not written whole.
    pub(crate) fn close(&mut self) -> usize {
        self.stream = None;
        self.waiting = BytesMut::new();
        std::mem::take(&mut self.frames).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::UnixStream;

    fn fill(outgoing: &mut Outgoing, frames: usize) {
        for _ in 0..frames {
            let (accepted, _) = outgoing.push(b"head", &vec![7; 60_000]);
            assert!(
                !matches!(accepted, Accepted::Gone | Accepted::Full { .. }),
                "{accepted:?}"
            );
        }
    }

    #[tokio::test]
    async fn unwritten_bytes_are_bounded_and_frames_are_counted() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut outgoing = Outgoing::new(Arc::new(Stream::Unix(ours)), true);
        fill(&mut outgoing, 60);
        assert!(!outgoing.is_empty());
        let mut full = Accepted::Waiting;
        for _ in 0..20 {
            full = outgoing.push(b"head", &vec![7; 60_000]).0;
        }
        let Accepted::Full { unwritten } = full else {
            panic!("{full:?}")
        };
        assert!(unwritten <= UNWRITTEN_BYTES);
        assert!(unwritten + 60_004 > UNWRITTEN_BYTES);
        drop(theirs);
        let lost = outgoing.close();
        assert!((65..80).contains(&lost), "{lost}");
        assert_eq!(outgoing.push(b"", b"x").0, Accepted::Gone);
    }

    #[tokio::test]
    async fn what_waits_is_written_in_order_and_then_the_end_is_told() {
        for coalesce in [true, false] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let reader = tokio::spawn(async move {
                let mut received = Vec::new();
                theirs.read_to_end(&mut received).await.unwrap();
                received
            });
            let mut outgoing = Outgoing::new(Arc::new(Stream::Unix(ours)), coalesce);
            fill(&mut outgoing, 10);
            outgoing.finish();
            assert_eq!(outgoing.push(b"", b"late").0, Accepted::Gone);
            while outgoing.flush().0.unwrap() != Left::Finished {
                outgoing.stream.as_ref().unwrap().writable().await.unwrap();
            }
            assert_eq!(outgoing.close(), 0);
            let received = reader.await.unwrap();
            assert_eq!(received.len(), 10 * 60_004);
            assert!(
                received
                    .chunks(60_004)
                    .all(|frame| frame.starts_with(b"head\x07"))
            );
        }
    }
}
