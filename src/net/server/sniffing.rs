//! Which protocol a new connection speaks.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use tokio::select;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::call::{CloseKind, CloseReason, Level, RejectReason};
use crate::metrics::Counters;
use crate::net::Stream;
use crate::net::beginning::{FIRST_READ_BYTES, read_more};
use crate::net::server::Server;
use crate::net::terms::Terms;
use crate::wire::tls::is_hello;
use crate::wire::{SNIFF_BYTES, Sniffed, sniff};

/// Connections that are given up before those that have something to say have their turn: many are
/// late at one moment where many came at one. To end one takes some 20 us.
pub(super) const GIVEN_UP: usize = 8;

impl Server {
    /// The protocol of a new connection and what was read of it, of which `buffer` was read before.
    /// `None` when there will be none; that is counted and written down.
    ///
    /// Where there is but one protocol nothing is read: a caller may only listen.
    pub(super) async fn find_protocol(
        &self,
        stream: &Stream,
        peer: &str,
        buffer: BytesMut,
    ) -> Option<(Arc<Terms>, BytesMut)> {
        if let [only] = self.protocols.as_slice() {
            Counters::add(&only.counters.bytes_received, buffer.len());
            return Some((Arc::clone(only), buffer));
        }
        let late = "not enough bytes to tell the protocol";
        let found = self.sniff(stream, buffer);
        self.begun(self.handshake_timeout, late, peer, found).await
    }

    /// What comes of a new connection's `beginning` within `limit`. `None` when nothing does, be it
    /// that the server stops; that is counted and written down.
    pub(super) async fn begun<T>(
        &self,
        limit: Duration,
        late: &str,
        peer: &str,
        beginning: impl Future<Output = Result<T, CloseReason>>,
    ) -> Option<T> {
        let mut stopped = std::pin::pin!(self.stopped.notified());
        stopped.as_mut().enable();
        if self.stopping.load(Ordering::Acquire) {
            return None;
        }
        let mut beginning = Box::pin(timeout(limit, beginning));
        let begun = select! {
            biased;
            begun = &mut beginning => begun,
            () = stopped => return None,
        };
        let reason = match begun {
            Ok(Ok(begun)) => return Some(begun),
            Ok(Err(reason)) => reason,
            Err(_) => {
                let _turn = self.giving_up.acquire().await;
                yield_now().await;
                drop(beginning);
                let text = format!("{late} within {} s", limit.as_secs_f64());
                let kind = CloseKind::Rejected(RejectReason::HandshakeTimeout);
                CloseReason::new(kind, text)
            }
        };
        self.turn_down(peer, &reason);
        None
    }

    async fn sniff(
        &self,
        stream: &Stream,
        mut buffer: BytesMut,
    ) -> Result<(Arc<Terms>, BytesMut), CloseReason> {
        let codecs: Vec<_> = self
            .protocols
            .iter()
            .map(|terms| Arc::clone(&terms.codec))
            .collect();
        buffer.reserve(FIRST_READ_BYTES);
        loop {
            if is_hello(&buffer) && matches!(stream, Stream::Plain(_)) {
                let kind = CloseKind::Rejected(RejectReason::TlsUnexpected);
                let text = "a TLS client, and no TLS is spoken at this port";
                return Err(CloseReason::new(kind, text));
            }
            match sniff(&codecs, &buffer) {
                Sniffed::NeedMore => {
                    let try_read = |buffer: &mut BytesMut| stream.try_read(buffer);
                    read_more(|| stream.readable(), try_read, &mut buffer).await?;
                }
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
    pub(super) fn turn_down(&self, peer: &str, reason: &CloseReason) {
        self.count_turned_down(reason.kind);
        let level = match reason.kind.refused_by_connection() {
            Some(_) => Level::Warning,
            None => Level::Info,
        };
        self.write_turned_down(level, peer, reason, "");
    }

    pub(super) fn count_turned_down(&self, kind: CloseKind) {
        // All protocols of a server share their counters and their journal.
        if let Some(terms) = self.protocols.first() {
            terms.counters.connection_opened();
            terms.counters.connection_closed(kind);
        }
    }

    pub(super) fn write_turned_down(
        &self,
        level: Level,
        peer: &str,
        reason: &CloseReason,
        more: &str,
    ) {
        let (kind, text) = (reason.kind.label(), &reason.text);
        if let Some(terms) = self.protocols.first() {
            let line = format!("connection closed peer={peer} kind={kind} reason={text:?}{more}");
            terms.journal.write(level, line);
        }
    }
}
