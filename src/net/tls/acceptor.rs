//! The server's end of a handshake.

use std::io::IoSlice;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::BytesMut;
use rustls::{Connection as Session, ServerConfig, ServerConnection};

use crate::call::{CloseKind, CloseReason, RejectReason};
use crate::net::Stream;
use crate::net::beginning::{FIRST_READ_BYTES, read_more};
use crate::net::socket::Socket;
use crate::net::tls::handshake::{part, shake_hands};
use crate::net::tls::{ServerSettings, TlsError};
use crate::wire::tls::{HANDSHAKE, UNEXPECTED_MESSAGE, sniff_hello};
use crate::wire::{SNIFF_BYTES, Sniff};

#[derive(Debug, Clone)]
struct Current {
    config: Arc<ServerConfig>,
    also_plain: bool,
}

impl Current {
    fn of(settings: &ServerSettings) -> Result<Self, TlsError> {
        Ok(Self {
            config: Arc::new(settings.config()?),
            also_plain: settings.also_plain,
        })
    }
}

/// Makes the connections of a port secure.
#[derive(Debug)]
pub struct TlsAcceptor {
    current: RwLock<Current>,
}

impl TlsAcceptor {
    /// One by these settings.
    ///
    /// # Errors
    /// Something of them is not what it should be.
    pub fn new(settings: &ServerSettings) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self {
            current: RwLock::new(Current::of(settings)?),
        }))
    }

    /// Has connections that come from now on secured by other settings.
    ///
    /// # Errors
    /// Those of the settings; then nothing changes.
    pub fn reload(&self, settings: &ServerSettings) -> Result<(), TlsError> {
        let current = Current::of(settings)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
        Ok(())
    }

    fn current(&self) -> Current {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shakes hands with a client, or finds that it speaks without TLS where it may; then with what
    /// was read of it.
    pub(in crate::net) async fn accept(
        &self,
        socket: Socket,
    ) -> Result<(Stream, BytesMut), CloseReason> {
        let Current { config, also_plain } = self.current();
        let mut first = BytesMut::with_capacity(FIRST_READ_BYTES);
        loop {
            let try_read = |first: &mut BytesMut| socket.try_read(first);
            read_more(|| socket.readable(), try_read, &mut first).await?;
            match sniff_hello(&first) {
                Sniff::Matched => break,
                // Where nothing else is spoken, nothing else need be told from it.
                Sniff::NeedMore if !also_plain => break,
                Sniff::NeedMore => {}
                Sniff::None if also_plain => return Ok((Stream::Plain(socket), first)),
                Sniff::None if first.first() == Some(&HANDSHAKE) => break,
                Sniff::None => return Err(turn_down(socket, &first)),
            }
        }
        let failed = |error: rustls::Error| CloseReason::new(CloseKind::Reset, error.to_string());
        let session = Session::Server(ServerConnection::new(config).map_err(failed)?);
        let stream = shake_hands(socket, session, &first).await?;
        Ok((Stream::Tls(Box::new(stream)), BytesMut::new()))
    }
}

/// Tells a client that speaks something else what is spoken here, by an alert.
fn turn_down(socket: Socket, first: &[u8]) -> CloseReason {
    // The connection ends whether or not it gets there.
    let _ = socket.try_write(&[IoSlice::new(&UNEXPECTED_MESSAGE)]);
    part(socket);
    let text = format!(
        "the first bytes, {}, are no TLS, and nothing else is spoken at this port",
        first.get(..SNIFF_BYTES).unwrap_or(first).escape_ascii()
    );
    CloseReason::new(CloseKind::Rejected(RejectReason::TlsExpected), text)
}
