//! One connected socket, of whatever family.

use std::future::pending;
use std::io::{self, IoSlice, Read as _};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::time::Duration;

use bytes::BytesMut;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

/// Time without a sign of life after which the operating system asks a silent peer for one.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// How often it asks again.
const KEEPALIVE_AGAIN: Duration = Duration::from_secs(10);
/// How often it does so in vain before the connection is given up; where the next one is known, it
/// decides.
const KEEPALIVE_PROBES: u32 = 3;
/// Time in which a peer's system must take what is sent, unless there is more for the peer itself.
/// Without it, answers to a peer that vanished are sent again for a quarter of an hour.
#[cfg(target_os = "linux")]
const UNTAKEN: Duration = Duration::from_secs(30);

/// A connected socket. All of it works through a shared reference, so that any thread can write
/// at once while the connection's task waits.
#[derive(Debug)]
pub enum Socket {
    /// TCP, v4 or v6.
    Tcp(TcpStream),
    /// A Unix stream socket.
    Unix(UnixStream),
}

impl Socket {
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

    /// Grants the peer so long to take what is sent, if that is more than it has already. Its system
    /// is given up in that time when it takes nothing, be it that the peer does not read.
    pub(super) fn grant(&self, time: Duration) {
        #[cfg(target_os = "linux")]
        if let Self::Tcp(stream) = self
            && time > UNTAKEN
        {
            // The system takes milliseconds as a C int: 24 days.
            let most = Duration::from_millis(i32::MAX.unsigned_abs().into());
            // Where that fails, the connection is broken, which shows.
            let _ = SockRef::from(stream).set_tcp_user_timeout(Some(time.min(most)));
        }
        #[cfg(not(target_os = "linux"))]
        let _ = time;
    }

    /// Waits until there is something to read.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            Self::Unix(stream) => stream.readable().await,
        }
    }

    /// Reads what is there into the room that `buffer` has.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing; else the connection broke.
    pub fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        let room = buffer.capacity() - buffer.len();
        self.drained(room, || match self {
            Self::Tcp(stream) => stream.try_read_buf(buffer),
            Self::Unix(stream) => stream.try_read_buf(buffer),
        })
    }

    /// Reads what is there into `bytes`.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing; else the connection broke.
    pub fn try_read_slice(&self, bytes: &mut [u8]) -> io::Result<usize> {
        self.drained(bytes.len(), || match self {
            Self::Tcp(stream) => stream.try_read(bytes),
            Self::Unix(stream) => stream.try_read(bytes),
        })
    }

    /// Reads by `read`, and takes it that nothing is left when less than `room` came: the next
    /// wait is for what comes then, without another read that finds nothing. That goes with epoll
    /// and kqueue, which tell of all that comes later; tokio's own `poll_read` does the same.
    fn drained(&self, room: usize, read: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
        let mut short = None;
        let read = || match read() {
            Ok(came) if cfg!(unix) && (1..room).contains(&came) => {
                short = Some(came);
                // Makes tokio forget that the socket was readable, unless it became so again.
                Err(io::ErrorKind::WouldBlock.into())
            }
            read => read,
        };
        let read = match self {
            Self::Tcp(stream) => stream.try_io(Interest::READABLE, read),
            Self::Unix(stream) => stream.try_io(Interest::READABLE, read),
        };
        short.map_or(read, Ok)
    }

    /// Waits until something can be written.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.writable().await,
            Self::Unix(stream) => stream.writable().await,
        }
    }

    /// Waits until the connection breaks, where somebody says that it does: the peer by a reset, or
    /// the system, which has given the peer up.
    pub async fn broken(&self) {
        let broken = match self {
            Self::Tcp(stream) => stream.ready(Interest::ERROR).await,
            Self::Unix(stream) => stream.ready(Interest::ERROR).await,
        };
        if broken.is_err() {
            // The runtime is shutting down.
            pending::<()>().await;
        }
    }

    /// Writes what the socket takes now.
    ///
    /// # Errors
    /// `WouldBlock` when it takes nothing; else the connection broke.
    pub fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, parts) {
            // The system has less to look at.
            (Self::Tcp(stream), [part]) => stream.try_write(part),
            (Self::Unix(stream), [part]) => stream.try_write(part),
            (Self::Tcp(stream), parts) => stream.try_write_vectored(parts),
            (Self::Unix(stream), parts) => stream.try_write_vectored(parts),
        }
    }

    /// Reads what is there, without asking the runtime whether something is: it may not have looked
    /// yet.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing; else the connection broke.
    pub fn read_unasked(&self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => (&*SockRef::from(stream)).read(bytes),
            Self::Unix(stream) => (&*SockRef::from(stream)).read(bytes),
        }
    }

    /// Looks at the next byte without taking it; 0 at the peer's end of stream.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing; else the connection broke.
    pub fn peek(&self) -> io::Result<usize> {
        let mut byte = [MaybeUninit::uninit()];
        match self {
            Self::Tcp(stream) => SockRef::from(stream).peek(&mut byte),
            Self::Unix(stream) => SockRef::from(stream).peek(&mut byte),
        }
    }

    /// Whether something came that was not read.
    pub fn has_unread(&self) -> bool {
        matches!(self.peek(), Ok(1..))
    }

    /// Keeps what is written from now on until the end of the stream, which then goes in the same
    /// packet: the peer has both or neither.
    pub fn gather(&self) {
        #[cfg(target_os = "linux")]
        if let Self::Tcp(stream) = self {
            // Where it fails they go one after the other.
            let _ = SockRef::from(stream).set_tcp_cork(true);
        }
    }

    /// Tells the peer that nothing more will come.
    ///
    /// # Errors
    /// The connection is gone already.
    pub fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream).shutdown(Shutdown::Write),
            Self::Unix(stream) => SockRef::from(stream).shutdown(Shutdown::Write),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Waker};
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    /// What a peer that vanishes costs stands in `docs/semantics.md`.
    #[tokio::test]
    async fn the_system_is_told_when_to_give_a_peer_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let Socket::Tcp(stream) = Socket::tcp(stream).unwrap() else {
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

    #[tokio::test]
    async fn a_socket_that_gave_less_than_was_asked_for_is_waited_for() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let socket = Socket::Unix(ours);
        for (sent, room) in [(&b"12345"[..], 8), (b"678", 3), (b"9", 8)] {
            theirs.write_all(sent).await.unwrap();
            socket.readable().await.unwrap();
            let mut buffer = BytesMut::with_capacity(room);
            assert_eq!(socket.try_read(&mut buffer).unwrap(), sent.len());
            assert_eq!(buffer, sent);
            let mut readable = pin!(socket.readable());
            let mut context = Context::from_waker(Waker::noop());
            let ready = readable.as_mut().poll(&mut context).is_ready();
            // One that gave all that there was room for may have more.
            assert_eq!(ready, sent.len() == room);
        }
        drop(theirs);
        socket.readable().await.unwrap();
        let end = socket.try_read(&mut BytesMut::with_capacity(8));
        assert_eq!(end.unwrap(), 0);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_peer_may_be_granted_more_time_to_read_and_not_less() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let socket = Socket::tcp(stream).unwrap();
        let granted = |time: Duration| {
            socket.grant(time);
            let Socket::Tcp(stream) = &socket else {
                panic!("no TCP")
            };
            SockRef::from(stream).tcp_user_timeout().unwrap().unwrap()
        };
        assert_eq!(granted(Duration::from_secs(5)), UNTAKEN);
        assert_eq!(granted(Duration::from_secs(60)), Duration::from_secs(60));
        assert!(granted(Duration::from_secs(10_000_000_000)) > Duration::from_secs(60));
    }
}
