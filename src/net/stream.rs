//! One connected socket, of whatever family.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use socket2::SockRef;
use tokio::net::{TcpStream, UnixStream};

/// Time without a sign of life after which the operating system asks a silent peer for one.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// How often it asks again.
const KEEPALIVE_AGAIN: Duration = Duration::from_secs(10);
/// How often it does so in vain before the connection is given up; where the next one is known, it
/// decides.
const KEEPALIVE_PROBES: u32 = 3;
/// Time in which a peer's system must take what is sent. Without it, answers to a peer that
/// vanished are sent again for a quarter of an hour.
#[cfg(target_os = "linux")]
const UNTAKEN: Duration = Duration::from_secs(30);

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

/// A connected socket. All of it works through a shared reference, so that any thread can write
/// at once while the connection's task waits.
#[derive(Debug)]
pub enum Stream {
    /// TCP, v4 or v6.
    Tcp(TcpStream),
    /// A Unix stream socket.
    Unix(UnixStream),
    /// No socket of the system's.
    Other(Box<dyn Transport>),
}

impl Stream {
    /// Takes over a TCP socket; small frames leave at once.
    ///
    /// # Errors
    /// The operating system refuses an option.
    pub fn tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE_AGAIN)
            .with_retries(KEEPALIVE_PROBES);
        let socket = SockRef::from(&stream);
        socket.set_tcp_keepalive(&keepalive)?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(UNTAKEN))?;
        Ok(Self::Tcp(stream))
    }

    /// Waits until there is something to read.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            Self::Unix(stream) => stream.readable().await,
            Self::Other(other) => poll_fn(|context| other.poll_readable(context)).await,
        }
    }

    /// Reads what is there into the room that `buffer` has.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing; else the connection broke.
    pub fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read_buf(buffer),
            Self::Unix(stream) => stream.try_read_buf(buffer),
            Self::Other(other) => other.try_read(buffer),
        }
    }

    /// Waits until something can be written.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.writable().await,
            Self::Unix(stream) => stream.writable().await,
            Self::Other(other) => poll_fn(|context| other.poll_writable(context)).await,
        }
    }

    /// Writes what the socket takes now.
    ///
    /// # Errors
    /// `WouldBlock` when it takes nothing; else the connection broke.
    pub fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write_vectored(parts),
            Self::Unix(stream) => stream.try_write_vectored(parts),
            Self::Other(other) => other.try_write(parts),
        }
    }

    /// Whether the peer's end of stream is the next thing to be read.
    pub fn is_ended(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let peeked = match self {
            Self::Tcp(stream) => SockRef::from(stream).peek(&mut byte),
            Self::Unix(stream) => SockRef::from(stream).peek(&mut byte),
            Self::Other(other) => return other.is_ended(),
        };
        matches!(peeked, Ok(0))
    }

    /// Tells the peer that nothing more will come.
    ///
    /// # Errors
    /// The connection is gone already.
    pub fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream).shutdown(Shutdown::Write),
            Self::Unix(stream) => SockRef::from(stream).shutdown(Shutdown::Write),
            Self::Other(other) => other.shutdown_write(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// What a peer that vanishes costs stands in `docs/semantics.md`.
    #[tokio::test]
    async fn the_system_is_told_when_to_give_a_peer_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let Stream::Tcp(stream) = Stream::tcp(stream).unwrap() else {
            panic!("no TCP")
        };
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEPALIVE_AGAIN);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), KEEPALIVE_PROBES);
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNTAKEN));
    }
}
