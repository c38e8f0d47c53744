//! What a connection is made of: a socket, with or without TLS.

use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream as Blocking;

use mio::net::TcpStream;
use rustls::ClientConnection;

use crate::net::tls::TlsConnector;

/// A socket that never waits.
#[derive(Debug)]
pub(super) enum Stream {
    /// Bytes as they are.
    Plain(TcpStream),
    /// Bytes in records.
    Tls(Box<Tls>),
}

/// A socket and the session on it, whose handshake is done.
#[derive(Debug)]
pub(super) struct Tls {
    socket: TcpStream,
    session: ClientConnection,
}

impl Stream {
    /// Shakes hands where TLS is wanted, which is waited for as long as the socket's own time-outs
    /// say; nothing is waited for from then on.
    pub(super) fn new(mut socket: Blocking, tls: Option<&TlsConnector>) -> io::Result<Self> {
        let session = tls
            .map(|connector| {
                let mut session = connector.session().map_err(io::Error::other)?;
                while session.is_handshaking() {
                    session.complete_io(&mut socket)?;
                }
                Ok::<_, io::Error>(session)
            })
            .transpose()?;
        socket.set_nonblocking(true)?;
        let socket = TcpStream::from_std(socket);
        Ok(match session {
            None => Self::Plain(socket),
            Some(session) => Self::Tls(Box::new(Tls { socket, session })),
        })
    }

    pub(super) fn socket(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => &mut tls.socket,
        }
    }
}

impl Read for Stream {
    /// Fills the buffer as far as there is something to fill it with, as a socket does.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(tls) => tls.write(&[IoSlice::new(bytes)]),
        }
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write_vectored(parts),
            Self::Tls(tls) => tls.write(parts),
        }
    }

    /// Writes records that the socket has not taken yet.
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.push(),
        }
    }
}

impl Tls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        while count < buffer.len() {
            let outcome = match self.session.reader().read(&mut buffer[count..]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.session.read_tls(&mut self.socket).and_then(|_| {
                        let done = self.session.process_new_packets();
                        // A failure is told to the peer, and there may be something to answer.
                        self.push()?;
                        done.map_err(io::Error::other).map(|_| None)
                    })
                }
                other => other.map(Some),
            };
            match outcome {
                Ok(None) => {}
                Ok(Some(0)) => break,
                Ok(Some(more)) => count += more,
                Err(error) if count > 0 && error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }

    /// What the session takes waits in it for the socket, within the session's own bound.
    fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.push()?;
        let count = self.session.writer().write_vectored(parts)?;
        self.push()?;
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(count)
    }

    fn push(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
