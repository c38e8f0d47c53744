//! TLS 1.2 and 1.3, by rustls over ring.
//!
//! `settings.rs` makes configurations of PEM, `acceptor.rs` and `connector.rs` the handshakes of
//! either end, `stream.rs` what comes out of them.

mod acceptor;
mod certificate;
mod choice;
mod connector;
mod fault;
mod handshake;
mod pem;
mod settings;
mod stream;

pub use acceptor::TlsAcceptor;
pub use connector::TlsConnector;
pub(super) use fault::of_connection;
pub use pem::Pem;
pub use settings::{ClientSettings, Identity, ServerSettings, TlsError};
pub use stream::TlsStream;
