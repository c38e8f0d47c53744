//! TLS before anything else, at a port that speaks it.

use bytes::BytesMut;

use crate::call::{CloseKind, CloseReason, RejectReason};
use crate::net::server::Server;
use crate::net::tls::TlsAcceptor;
use crate::net::{Socket, Stream};

impl Server {
    /// A secure stream over a new connection, and what was read of one that is not to be secure.
    /// `None` when there will be none; that is counted and written down.
    pub(super) async fn secure(
        &self,
        tls: &TlsAcceptor,
        socket: Socket,
        peer: &str,
    ) -> Option<(Stream, BytesMut)> {
        let Some(place) = tls.place() else {
            let kind = CloseKind::Rejected(RejectReason::TlsBusy);
            let text = "too many TLS handshakes are under way";
            self.turn_down(peer, &CloseReason::new(kind, text));
            return None;
        };
        let limit = place.patience(self.handshake_timeout);
        let late = "the TLS handshake did not end";
        self.begun(limit, late, peer, tls.accept(socket)).await
    }
}
