//! One connected stream: a socket, or TLS over one.

use std::fmt;
use std::future::{pending, poll_fn};
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::{TcpStream, UnixStream};

use crate::call::{CloseReason, TlsInfo};
use crate::net::socket::Socket;
use crate::net::tls::TlsStream;

/// What can stand for a socket: anything that bytes go through, such as a simulated network. Each
/// method does what that of [`Stream`] with a like name says; dropping it closes it.
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Ready when there is something to read, or its end; one task waits for that.
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Reads what is there into the room that `buffer` has; 0 bytes are the end.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing; else the connection broke.
    fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize>;

    /// Ready when something can be written; one task waits for that.
    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Writes as much as is taken now.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is; else the connection broke.
    fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Whether the peer's end of stream is the next thing to be read.
    fn is_ended(&self) -> bool;

    /// Tells the peer that nothing more will come.
    ///
    /// # Errors
    /// The connection is gone already.
    fn shutdown_write(&self) -> io::Result<()>;
}

/// What a connection reads from and writes to. All of it works through a shared reference.
///
/// Whoever has a stream cannot write past its TLS: the socket below is not to be had.
#[derive(Debug)]
pub enum Stream {
    /// The bytes of the protocol, as they are.
    Plain(Socket),
    /// The same inside TLS.
    Tls(Box<TlsStream>),
    /// No socket of the system's.
    Other(Box<dyn Transport>),
}

impl Stream {
    /// A plain stream over TCP; small frames leave at once.
    ///
    /// # Errors
    /// The operating system refuses an option.
    pub fn tcp(stream: TcpStream) -> io::Result<Self> {
        Socket::tcp(stream).map(Self::Plain)
    }

    /// A plain stream over a Unix socket.
    #[must_use]
    pub fn unix(stream: UnixStream) -> Self {
        Self::Plain(Socket::Unix(stream))
    }

    /// What is known of the peer by TLS; `None` where there is none.
    #[must_use]
    pub fn tls(&self) -> Option<&Arc<TlsInfo>> {
        match self {
            Self::Plain(_) | Self::Other(_) => None,
            Self::Tls(stream) => Some(stream.info()),
        }
    }

    /// Waits until there may be something to read.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.readable().await,
            Self::Tls(stream) => stream.readable().await,
            Self::Other(other) => poll_fn(|context| other.poll_readable(context)).await,
        }
    }

    /// Reads what is there into `buffer`, and says how many bytes that were; 0 at the peer's end.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing; `UnexpectedEof` at an end that TLS did not announce;
    /// else the connection broke.
    pub fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.try_read(buffer),
            Self::Tls(stream) => stream.try_read(buffer),
            Self::Other(other) => other.try_read(buffer),
        }
    }

    /// Grants the peer so long to take what is sent, if that is more than it has already.
    pub(super) fn grant(&self, time: Duration) {
        match self {
            Self::Plain(socket) => socket.grant(time),
            Self::Tls(stream) => stream.grant(time),
            Self::Other(_) => {}
        }
    }

    /// Why the peer ended a connection to which nothing can be written any more, if it said so by
    /// TLS.
    #[must_use]
    pub fn last_words(&self) -> Option<CloseReason> {
        match self {
            Self::Plain(_) | Self::Other(_) => None,
            Self::Tls(stream) => stream.last_words(),
        }
    }

    /// Waits until something can be written.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.writable().await,
            Self::Tls(stream) => stream.writable().await,
            Self::Other(other) => poll_fn(|context| other.poll_writable(context)).await,
        }
    }

    /// Waits until the connection breaks, though nothing is read or written.
    pub async fn broken(&self) {
        match self {
            Self::Plain(socket) => socket.broken().await,
            Self::Tls(stream) => stream.broken().await,
            Self::Other(_) => pending().await,
        }
    }

    /// Takes what can be written now. TLS may keep some of it, see [`Stream::try_flush`].
    ///
    /// # Errors
    /// `WouldBlock` when nothing is taken; else the connection broke.
    pub fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.try_write(parts),
            Self::Tls(stream) => stream.try_write(parts),
            Self::Other(other) => other.try_write(parts),
        }
    }

    /// Writes what TLS keeps of what was taken; with `last`, its own end of stream, too.
    ///
    /// # Errors
    /// `WouldBlock` when some of it is left; else the connection broke.
    pub fn try_flush(&self, last: bool) -> io::Result<()> {
        match self {
            Self::Plain(_) | Self::Other(_) => Ok(()),
            Self::Tls(stream) => stream.try_flush(last),
        }
    }

    /// Whether all that was taken has been written.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        match self {
            Self::Plain(_) | Self::Other(_) => true,
            Self::Tls(stream) => stream.is_flushed(),
        }
    }

    /// Whether the peer's end of stream is the next thing to be read.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        match self {
            Self::Plain(socket) => matches!(socket.peek(), Ok(0)),
            Self::Tls(stream) => stream.is_ended(),
            Self::Other(other) => other.is_ended(),
        }
    }

    /// Tells the peer that nothing more will come.
    ///
    /// # Errors
    /// The connection is gone already.
    pub fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.shutdown_write(),
            Self::Tls(stream) => stream.shutdown_write(),
            Self::Other(other) => other.shutdown_write(),
        }
    }
}
