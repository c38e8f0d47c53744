//! How many connections a server takes, and how long it waits for them to begin.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::call::{CloseKind, CloseReason, Level, RejectReason};
use crate::net::crowd::{Crowd, Place};
use crate::net::server::Server;

/// How often it is written down that there are too many connections.
const SAID_EVERY: Duration = Duration::from_secs(1);

/// What a server grants to those who connect.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Connections at once, those that are about to begin included.
    pub connections: usize,
    /// Handshakes of TLS under way at once.
    pub handshakes: usize,
    /// Time for the first bytes, where they are to tell the protocol, and for a handshake of TLS.
    pub handshake_timeout: Duration,
}

/// The connections of one server: how many there are, and when it was last said that there is no
/// room.
#[derive(Debug)]
pub(super) struct Seats {
    crowd: Crowd,
    said: Mutex<Option<Instant>>,
}

impl Seats {
    pub(super) fn of(most: usize) -> Self {
        Self {
            crowd: Crowd::of(most),
            said: Mutex::default(),
        }
    }

    /// Whether it is to be written down that one more was turned away.
    fn is_news(&self) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let news = said.is_none_or(|said| said.elapsed() >= SAID_EVERY);
        if news {
            *said = Some(Instant::now());
        }
        news
    }
}

impl Server {
    /// A place for one more connection. `None` when there is no room; that is counted.
    pub(super) fn seat(&self, peer: &str) -> Option<Place> {
        let place = self.seats.crowd.place();
        if place.is_none() {
            let most = self.seats.crowd.most();
            let text = format!("there are {most} connections already, max_connections");
            let kind = CloseKind::Rejected(RejectReason::TooManyConnections);
            self.count_turned_down(kind);
            if self.seats.is_news() {
                let reason = CloseReason::new(kind, text);
                self.write_turned_down(Level::Warning, peer, &reason, " (said once a second)");
            }
        }
        place
    }
}
