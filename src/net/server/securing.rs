//! TLS before anything else, at a port that speaks it.

use std::time::Duration;

use bytes::BytesMut;

use crate::call::{CloseKind, CloseReason, RejectReason};
use crate::net::server::Server;
use crate::net::tls::TlsAcceptor;
use crate::net::{Socket, Stream};

/// Above the limit divided by this, patience with handshakes is short: one takes milliseconds, and
/// strangers that only hold a place are not to crowd out everybody else.
const CROWDED: usize = 4;
/// Time for a handshake in a crowd.
const SHORT_PATIENCE: Duration = Duration::from_secs(2);

impl Server {
    /// A secure stream over a new connection, and what was read of one that is not to be secure.
    /// `None` when there will be none; that is counted and written down.
    pub(super) async fn secure(
        &self,
        tls: &TlsAcceptor,
        socket: Socket,
        peer: &str,
    ) -> Option<(Stream, BytesMut)> {
        let most = self.handshakes.most();
        let Some(place) = self.handshakes.place() else {
            let kind = CloseKind::Rejected(RejectReason::TlsBusy);
            let text = format!("{most} TLS handshakes are under way, max_handshakes");
            self.turn_down(peer, &CloseReason::new(kind, text));
            return None;
        };
        let limit = patience(place.before(), most, self.handshake_timeout);
        let late = "the TLS handshake did not end";
        self.begun(limit, late, peer, tls.accept(socket)).await
    }
}

/// How long a handshake may take when `before` of `most` were under way before it, where `usual` is
/// what there is time for otherwise.
fn patience(before: usize, most: usize, usual: Duration) -> Duration {
    if before < most.div_ceil(CROWDED) {
        usual
    } else {
        usual.min(SHORT_PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_short_in_a_crowd() {
        let usual = Duration::from_secs(10);
        for (before, most, expected) in [
            (0, 1, usual),
            (1023, 4096, usual),
            (1024, 4096, SHORT_PATIENCE),
            (4095, 4096, SHORT_PATIENCE),
        ] {
            assert_eq!(
                patience(before, most, usual),
                expected,
                "{before} of {most}"
            );
        }
        let hasty = Duration::from_millis(5);
        assert_eq!(patience(4095, 4096, hasty), hasty);
    }
}
