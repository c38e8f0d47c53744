//! The client's end of a handshake.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection as Session};

use crate::call::{CloseKind, CloseReason};
use crate::net::Stream;
use crate::net::address::Address;
use crate::net::socket::Socket;
use crate::net::tls::handshake::shake_hands;
use crate::net::tls::{ClientSettings, TlsError};

#[derive(Debug, Clone)]
struct Current {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Current {
    fn of(settings: &ClientSettings, address: &Address) -> Result<Self, TlsError> {
        let name = match (&settings.server_name, address) {
            (Some(name), _) | (None, Address::Tcp { host: name, .. }) => name,
            (None, Address::Unix(_)) => {
                let text = format!(
                    "{address} has no name that a certificate could be for; say it by server_name="
                );
                return Err(TlsError::new(text));
            }
        };
        let name = match name.parse::<IpAddr>() {
            Ok(address) => ServerName::IpAddress(address.into()),
            Err(_) => ServerName::try_from(name.clone()).map_err(|_| {
                TlsError::new(format!("{name:?} is neither a DNS name nor an IP address"))
            })?,
        };
        let config = Arc::new(settings.config()?);
        Ok(Self { config, name })
    }
}

/// Makes the connections of a channel secure.
#[derive(Debug)]
pub struct TlsConnector {
    address: Address,
    current: RwLock<Current>,
}

impl TlsConnector {
    /// One to a server at `address`, by these settings.
    ///
    /// # Errors
    /// Something of them is not what it should be.
    pub fn new(settings: &ClientSettings, address: &Address) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self {
            address: address.clone(),
            current: RwLock::new(Current::of(settings, address)?),
        }))
    }

    /// Has connections made from now on by other settings.
    ///
    /// # Errors
    /// Those of the settings; then nothing changes.
    pub fn reload(&self, settings: &ClientSettings) -> Result<(), TlsError> {
        let current = Current::of(settings, &self.address)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
        Ok(())
    }

    /// A session whose handshake is to come.
    ///
    /// # Errors
    /// rustls does not take the settings after all.
    pub fn session(&self) -> Result<ClientConnection, rustls::Error> {
        let current = self.current.read();
        let Current { config, name } = current.unwrap_or_else(PoisonError::into_inner).clone();
        ClientConnection::new(config, name)
    }

    /// Shakes hands with a server.
    ///
    /// # Errors
    /// It is not the one that is wanted, or does not want us.
    pub async fn connect(&self, socket: Socket) -> Result<Stream, CloseReason> {
        let failed = |error: rustls::Error| CloseReason::new(CloseKind::Reset, error.to_string());
        let session = Session::Client(self.session().map_err(failed)?);
        let stream = shake_hands(socket, session, b"").await?;
        Ok(Stream::Tls(Box::new(stream)))
    }
}
