//! What a server or a channel counts.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::call::{CloseKind, Outcome, RejectReason, Tally};
use crate::status::Code;

/// What stands behind one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// One number.
    Number(u64),
    /// A number a label; labels that were never counted are left out.
    Labelled(Vec<(&'static str, u64)>),
}

/// Counters by label.
#[derive(Debug)]
struct Each<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Each<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

/// The counters of one server or channel.
#[derive(Debug, Default)]
pub struct Counters {
    connections: AtomicU64,
    connections_total: AtomicU64,
    disconnects: Each<{ CloseKind::ALL.len() }>,
    /// Attempts to connect that succeeded.
    pub connects: AtomicU64,
    /// Attempts to connect that failed.
    pub connect_failures: AtomicU64,
    /// Calls that came in and named a method.
    pub calls_received: AtomicU64,
    outcomes: Each<{ 1 + Code::ALL.len() }>,
    rejected: Each<{ RejectReason::ALL.len() }>,
    /// Responses that the wire had no way to carry.
    pub responses_discarded: AtomicU64,
    /// Second and later endings of calls.
    pub late_endings: AtomicU64,
    /// Calls handed to a connection.
    pub calls_sent: AtomicU64,
    /// Calls handed to a connection that ended before they were written.
    pub calls_unsent: AtomicU64,
    /// Answers handed to a connection.
    pub replies_sent: AtomicU64,
    /// Answers that had no connection to go to any more.
    pub replies_unsent: AtomicU64,
    /// Answers that came when nobody waited for them any more.
    pub late_replies: AtomicU64,
    /// Tries of calls that were made again.
    pub retries: AtomicU64,
    /// Bytes read from peers.
    pub bytes_received: AtomicU64,
    /// Bytes written to peers.
    pub bytes_sent: AtomicU64,
    /// Panics caught.
    pub panics: AtomicU64,
    /// Connections that could not be accepted.
    pub accept_errors: AtomicU64,
}

/// Adds to a counter; their order among each other means nothing.
fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

fn bump<const N: usize>(Each(counters): &Each<N>, place: Option<usize>) {
    if let Some(counter) = place.and_then(|place| counters.get(place)) {
        add(counter, 1);
    }
}

fn labelled<const N: usize>(
    labels: impl Iterator<Item = &'static str>,
    Each(counters): &Each<N>,
) -> Value {
    let counts = counters
        .iter()
        .map(|counter| counter.load(Ordering::Relaxed));
    Value::Labelled(labels.zip(counts).filter(|&(_, count)| count > 0).collect())
}

impl Counters {
    /// Adds one to `counter`.
    pub fn count(counter: &AtomicU64) {
        add(counter, 1);
    }

    /// Adds `more` to `counter`; nothing more is often what there is, and takes no atomic step.
    pub fn add(counter: &AtomicU64, more: usize) {
        if more > 0 {
            add(counter, more as u64);
        }
    }

    /// A connection is there.
    pub fn connection_opened(&self) {
        add(&self.connections, 1);
        add(&self.connections_total, 1);
    }

    /// A connection is gone.
    pub fn connection_closed(&self, kind: CloseKind) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
        bump(
            &self.disconnects,
            CloseKind::ALL.iter().position(|&other| other == kind),
        );
        if let Some(reason) = kind.refused_by_connection() {
            self.rejected(reason);
        }
    }

    /// Something a peer sent was not run; most endings of connections count themselves.
    pub fn rejected(&self, reason: RejectReason) {
        bump(
            &self.rejected,
            RejectReason::ALL.iter().position(|&other| other == reason),
        );
    }

    /// All counters by name.
    pub fn snapshot(&self) -> Vec<(&'static str, Value)> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let number = |counter: &AtomicU64| Value::Number(read(counter));
        // Ended before received: the difference must not fall below zero.
        let ended: u64 = self.outcomes.0.iter().map(read).sum();
        let received = read(&self.calls_received);
        vec![
            ("connections", number(&self.connections)),
            ("connections_total", number(&self.connections_total)),
            (
                "disconnects_total",
                labelled(
                    CloseKind::ALL.iter().map(|kind| kind.label()),
                    &self.disconnects,
                ),
            ),
            ("connects_total", number(&self.connects)),
            ("connect_failures_total", number(&self.connect_failures)),
            ("calls_received_total", Value::Number(received)),
            (
                "calls_in_flight",
                Value::Number(received.saturating_sub(ended)),
            ),
            (
                "calls_total",
                labelled(Outcome::all().map(Outcome::label), &self.outcomes),
            ),
            (
                "rejected_total",
                labelled(
                    RejectReason::ALL.iter().map(|reason| reason.label()),
                    &self.rejected,
                ),
            ),
            (
                "responses_discarded_total",
                number(&self.responses_discarded),
            ),
            ("late_endings_total", number(&self.late_endings)),
            ("calls_sent_total", number(&self.calls_sent)),
            ("calls_unsent_total", number(&self.calls_unsent)),
            ("replies_sent_total", number(&self.replies_sent)),
            ("replies_unsent_total", number(&self.replies_unsent)),
            ("late_replies_total", number(&self.late_replies)),
            ("retries_total", number(&self.retries)),
            ("bytes_received_total", number(&self.bytes_received)),
            ("bytes_sent_total", number(&self.bytes_sent)),
            ("panics_total", number(&self.panics)),
            ("accept_errors_total", number(&self.accept_errors)),
        ]
    }
}

impl Tally for Counters {
    fn ended(&self, outcome: Outcome) {
        bump(&self.outcomes, Some(outcome.place()));
    }

    fn late(&self) {
        add(&self.late_endings, 1);
    }

    fn expired(&self) {
        self.rejected(RejectReason::Expired);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(counters: &Counters, name: &str) -> Value {
        let mut all = counters.snapshot().into_iter();
        all.find(|(other, _)| *other == name).unwrap().1
    }

    #[test]
    fn every_outcome_has_a_place_of_its_own() {
        let counters = Counters::default();
        for outcome in Outcome::all() {
            counters.ended(outcome);
        }
        let Value::Labelled(counts) = value(&counters, "calls_total") else {
            panic!()
        };
        assert_eq!(counts.len(), 18);
        assert!(counts.iter().all(|&(_, count)| count == 1));
        assert_eq!(counts[14], ("INTERNAL", 1));
    }

    #[test]
    fn a_rejecting_close_counts_as_both() {
        let counters = Counters::default();
        counters.connection_opened();
        counters.connection_closed(CloseKind::Rejected(RejectReason::UnknownMethod));
        assert_eq!(value(&counters, "connections"), Value::Number(0));
        assert_eq!(
            value(&counters, "disconnects_total"),
            Value::Labelled(vec![("unknown_method", 1)])
        );
        assert_eq!(
            value(&counters, "rejected_total"),
            Value::Labelled(vec![("unknown_method", 1)])
        );
    }
}
