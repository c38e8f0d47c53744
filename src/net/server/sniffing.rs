//! Which protocol a new connection speaks.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::BytesMut;
use tokio::select;
use tokio::time::timeout;

use crate::call::{CloseKind, CloseReason, Level, RejectReason};
use crate::metrics::Counters;
use crate::net::Stream;
use crate::net::connection::Terms;
use crate::net::server::Server;
use crate::wire::{SNIFF_BYTES, Sniffed, sniff};

/// Bytes of room for the first read: most first frames are there whole.
const FIRST_READ_BYTES: usize = 4 * 1024;

impl Server {
    /// The protocol of a new connection and what was read of it. `None` when there will be none;
    /// that is counted and written down.
    ///
    /// Where there is but one protocol nothing is read: a caller may only listen.
    pub(super) async fn find_protocol(
        &self,
        stream: &Stream,
        peer: &str,
    ) -> Option<(Arc<Terms>, BytesMut)> {
        if let [only] = self.protocols.as_slice() {
            return Some((Arc::clone(only), BytesMut::new()));
        }
        let mut stopped = std::pin::pin!(self.stopped.notified());
        stopped.as_mut().enable();
        if self.stopping.load(Ordering::Acquire) {
            return None;
        }
        let found = select! {
            biased;
            found = timeout(self.handshake_timeout, self.sniff(stream)) => found,
            () = stopped => return None,
        };
        let reason = match found {
            Ok(Ok(found)) => return Some(found),
            Ok(Err(reason)) => reason,
            Err(_) => {
                let limit = self.handshake_timeout.as_secs_f64();
                let text = format!("not enough bytes to tell the protocol within {limit} s");
                let kind = CloseKind::Rejected(RejectReason::HandshakeTimeout);
                CloseReason::new(kind, text)
            }
        };
        self.turn_down(peer, &reason);
        None
    }

    async fn sniff(&self, stream: &Stream) -> Result<(Arc<Terms>, BytesMut), CloseReason> {
        let codecs: Vec<_> = self
            .protocols
            .iter()
            .map(|terms| Arc::clone(&terms.codec))
            .collect();
        let mut buffer = BytesMut::with_capacity(FIRST_READ_BYTES);
        loop {
            let broken =
                |error: std::io::Error| CloseReason::new(CloseKind::Reset, error.to_string());
            stream.readable().await.map_err(broken)?;
            match stream.try_read(&mut buffer) {
                Ok(0) if buffer.is_empty() => return Err(CloseReason::peer_closed()),
                Ok(0) => {
                    let kind = CloseKind::Rejected(RejectReason::Truncated);
                    let text = format!("the stream ended after {} bytes", buffer.len());
                    return Err(CloseReason::new(kind, text));
                }
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(broken(error)),
            }
            match sniff(&codecs, &buffer) {
                Sniffed::NeedMore => {}
                Sniffed::Matched(place) => {
                    if let Some(terms) = self.protocols.get(place) {
                        Counters::add(&terms.counters.bytes_received, buffer.len());
                        return Ok((Arc::clone(terms), buffer));
                    }
                }
                Sniffed::None => {
                    let first = buffer.get(..SNIFF_BYTES).unwrap_or(&buffer);
                    let names: Vec<_> = codecs.iter().map(|codec| codec.name()).collect();
                    let text = format!(
                        "the first bytes, {}, are those of none of {}",
                        first.escape_ascii(),
                        names.join(", ")
                    );
                    let kind = CloseKind::Rejected(RejectReason::UnknownProtocol);
                    return Err(CloseReason::new(kind, text));
                }
            }
        }
    }

    /// Counts and writes down a connection that never had a protocol.
    fn turn_down(&self, peer: &str, reason: &CloseReason) {
        let Some(terms) = self.protocols.first() else {
            return;
        };
        terms.counters.connection_opened();
        terms.counters.connection_closed(reason.kind);
        let level = match reason.kind.refused_by_connection() {
            Some(_) => Level::Warning,
            None => Level::Info,
        };
        let (kind, text) = (reason.kind.label(), &reason.text);
        let line = format!("connection closed peer={peer} kind={kind} reason={text:?}");
        terms.journal.write(level, line);
    }
}
