//! A socket whose bytes are encrypted.

use std::io::{self, BufRead as _, IoSlice, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use rustls::Connection as Session;
use smallvec::SmallVec;
use tokio::select;
use tokio::sync::Notify;

use crate::call::{CloseReason, TlsInfo};
use crate::net::socket::Socket;
use crate::net::tls::{certificate, of_connection};

/// Bytes read from the socket in one call: the largest record, nearly.
const READ_BYTES: usize = 16 * 1024;

/// Bytes behind which nobody looks for the reason of an end.
const PASSED_OVER_BYTES: usize = 256 * 1024;

/// A socket as rustls reads and writes it.
pub(super) struct Wire<'a>(pub(super) &'a Socket);

impl Read for Wire<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.try_read_slice(bytes)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The same, whether or not the runtime knows yet that something has come.
struct Unasked<'a>(&'a Socket);

impl Read for Unasked<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read_unasked(bytes)
    }
}

/// What one direction or the other needs the lock for.
#[derive(Debug)]
struct State {
    session: Session,
    /// The peer's bytes are not what TLS allows; rustls says so again and again.
    failed: bool,
    /// Our end of stream was said.
    ended: bool,
}

/// A socket whose bytes are encrypted, after the handshake.
///
/// Any thread may write while the connection's task waits to read, as with a socket. Both need the
/// session, so that there is a lock around it, which nobody holds while waiting.
#[derive(Debug)]
pub struct TlsStream {
    socket: Socket,
    state: Mutex<State>,
    info: Arc<TlsInfo>,
    /// Another thread than the reader has found something to be read.
    found: Notify,
}

impl State {
    /// Whether there is something to be read, be it an end or an error, without a look at the
    /// socket.
    fn has_news(&mut self) -> bool {
        let nothing = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        self.failed || !self.session.reader().fill_buf().is_err_and(nothing)
    }

    /// Moves what is decrypted into `buffer`; `None` when there is nothing yet.
    fn drain(&mut self, buffer: &mut BytesMut) -> io::Result<Option<usize>> {
        let mut total = 0;
        loop {
            let mut reader = self.session.reader();
            let taken = match reader.fill_buf() {
                Ok(chunk) => {
                    buffer.extend_from_slice(chunk);
                    chunk.len()
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok((total > 0).then_some(total));
                }
                // What came before it is taken first; it will be found again.
                Err(_) if total > 0 => return Ok(Some(total)),
                Err(error) => return Err(error),
            };
            if taken == 0 {
                return Ok(Some(total));
            }
            reader.consume(taken);
            total += taken;
        }
    }

    /// Decrypts what was read.
    fn process(&mut self, socket: &Socket) -> io::Result<()> {
        let processed = self.session.process_new_packets();
        if processed.is_err() {
            self.failed = true;
        }
        if self.session.wants_write() {
            // An alert, or the answer to an update of keys. What the socket does not take now goes
            // before the next frame.
            let _ = self.write(socket);
        }
        processed
            .map(drop)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Hands bytes from the socket to the session, and what they decrypt to into `buffer`, as
    /// `drain` does. What comes before a fault counts; the fault is found again.
    fn take_in(
        &mut self,
        socket: &Socket,
        mut bytes: &[u8],
        buffer: &mut BytesMut,
    ) -> io::Result<Option<usize>> {
        let mut total = None;
        loop {
            // Nothing is taken after the peer's end of stream.
            let over = self.session.read_tls(&mut bytes)? == 0 || bytes.is_empty();
            let processed = self.process(socket);
            let drained = self.drain(buffer);
            if let Ok(Some(taken)) = drained {
                total = Some(total.unwrap_or_default() + taken);
            }
            match processed.and(drained) {
                Err(error) if total.is_none() => return Err(error),
                Ok(_) if !over => {}
                Ok(_) | Err(_) => return Ok(total),
            }
        }
    }

    /// Writes what is encrypted, all of it or up to an error.
    fn write(&mut self, socket: &Socket) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Wire(socket)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl TlsStream {
    /// Takes over a socket and the session that has shaken hands over it.
    pub(super) fn new(socket: Socket, session: Session) -> Self {
        let info = Arc::new(certificate::info(&session));
        let state = State {
            session,
            failed: false,
            ended: false,
        };
        Self {
            socket,
            state: Mutex::new(state),
            info,
            found: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of the peer.
    pub fn info(&self) -> &Arc<TlsInfo> {
        &self.info
    }

    /// Grants the peer so long to take what is sent, if that is more than it has already.
    pub(in crate::net) fn grant(&self, time: Duration) {
        self.socket.grant(time);
    }

    /// Waits until there may be something to read.
    pub(in crate::net) async fn readable(&self) -> io::Result<()> {
        if self.state().has_news() {
            return Ok(());
        }
        select! {
            readable = self.socket.readable() => readable,
            () = self.found.notified() => Ok(()),
        }
    }

    /// Waits until something can be written.
    pub(in crate::net) async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// Waits until the connection breaks, though nothing is read or written.
    pub(in crate::net) async fn broken(&self) {
        self.socket.broken().await;
    }

    /// Reads and decrypts what is there; 0 when the peer said that this is the end.
    pub(in crate::net) fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        let mut state = self.state();
        if let Some(taken) = state.drain(buffer)? {
            return Ok(taken);
        }
        if state.failed {
            return state.process(&self.socket).map(|()| 0);
        }
        let mut bytes = [0; READ_BYTES];
        loop {
            let read = self.socket.try_read_slice(&mut bytes)?;
            let read = bytes.get(..read).unwrap_or_default();
            if let Some(taken) = state.take_in(&self.socket, read, buffer)? {
                return Ok(taken);
            }
        }
    }

    /// Encrypts and writes; nothing is taken while something waits that was taken before.
    pub(in crate::net) fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.state().write(&self.socket)?;
        let mut total = 0;
        let mut parts: SmallVec<[_; 3]> = parts.into();
        let mut left = parts.as_mut_slice();
        loop {
            // Not held for longer than the 64 KiB take that rustls has room for: the reader waits.
            let mut state = self.state();
            let taken = state.session.writer().write_vectored(left)?;
            total += taken;
            IoSlice::advance_slices(&mut left, taken);
            // What was taken is taken, whatever comes of it; who writes next finds the error.
            if taken == 0 || state.write(&self.socket).is_err() {
                return Ok(total);
            }
        }
    }

    /// Writes what was taken and is not written; with `last`, our end of stream (RFC 8446, 6.1).
    pub(in crate::net) fn try_flush(&self, last: bool) -> io::Result<()> {
        let mut state = self.state();
        if last && !state.ended {
            state.ended = true;
            state.session.send_close_notify();
        }
        state.write(&self.socket)
    }

    /// Whether all that was taken has been written.
    pub(in crate::net) fn is_flushed(&self) -> bool {
        !self.state().session.wants_write()
    }

    /// Whether the peer's end of stream is the next thing to be read.
    pub(in crate::net) fn is_ended(&self) -> bool {
        let mut state = self.state();
        if !state.has_news() {
            match self.socket.peek() {
                Ok(0) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
            // Only the session can tell an end from what else may come. It has room: there was
            // nothing to be read.
            if state.session.read_tls(&mut Unasked(&self.socket)).is_err() {
                return false;
            }
            // The reader is told of an error as of everything else.
            let _ = state.process(&self.socket);
            if !state.has_news() {
                return false;
            }
            self.found.notify_one();
        }
        let nothing = |chunk: &[u8]| chunk.is_empty();
        state.failed || state.session.reader().fill_buf().map_or(true, nothing)
    }

    /// Why the peer ended the connection, if it said so; what comes before that is lost.
    pub(in crate::net) fn last_words(&self) -> Option<CloseReason> {
        let mut passed_over = BytesMut::new();
        while passed_over.len() < PASSED_OVER_BYTES {
            match self.try_read(&mut passed_over) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return of_connection(&error),
            }
        }
        None
    }

    /// Tells the peer that nothing more will come.
    pub(in crate::net) fn shutdown_write(&self) -> io::Result<()> {
        // Without the session's end the peer would take it for a loss.
        let _ = self.try_flush(true);
        self.socket.shutdown_write()
    }
}
