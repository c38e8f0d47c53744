//! What all connections of one protocol of a server, or of one channel, have in common.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::call::{Admission, Greeting, Journal, Registry};
use crate::metrics::Counters;
use crate::net::connection::locked;
use crate::net::driver::Driver;
use crate::net::{Timeouts, Unfinished};
use crate::wire::{Codec, Extras};

/// What the other end may call.
#[derive(Debug, Clone)]
pub enum Offer {
    /// Nothing: calls that come in are passed over.
    Nothing,
    /// These services.
    Services(Arc<Registry>),
    /// Services that each session finds out for itself and names by [`Link::serve`].
    BySession,
}

/// Which end of its connections this is.
#[derive(Debug)]
pub enum Role {
    /// It was connected to.
    Server {
        /// How much may be under way.
        admission: Arc<Admission>,
        /// Whether callers must say who they are.
        authenticates: bool,
    },
    /// It connected.
    Caller {
        /// What it says about who it is.
        credential: Mutex<Bytes>,
    },
}

/// What all connections of one protocol of a server, or of one channel, share.
#[derive(Debug)]
pub struct Terms {
    /// The protocol.
    pub codec: Arc<dyn Codec>,
    /// Whether frames that wait together may leave in one write.
    pub coalesce: bool,
    /// Whether a request that is none ends the connection, where the wire cannot say so otherwise.
    pub close_on_bad_body: bool,
    /// Which end this is.
    pub role: Role,
    /// What the other end may call.
    pub offer: Offer,
    /// How long a peer may keep this end waiting.
    pub timeouts: Timeouts,
    /// The frames of which only a part has come.
    pub unfinished: Arc<Unfinished>,
    /// Who drives the runtime, and flushes what threads hold back.
    pub driver: Arc<Driver>,
    /// Where events are counted.
    pub counters: Arc<Counters>,
    /// Where events are written down.
    pub journal: Arc<Journal>,
}

impl Terms {
    /// Whether there are sessions at all.
    pub(super) fn serves(&self) -> bool {
        !matches!(self.offer, Offer::Nothing)
    }

    /// What goes along with the first call of a connection: who calls and what it understands, too.
    pub(super) fn greet(&self, extras: &Extras) -> Extras {
        let mut extras = extras.clone();
        let Role::Caller { credential } = &self.role else {
            return extras;
        };
        let traits = self.codec.traits();
        let credential = locked(credential).clone();
        if traits.credentials && !credential.is_empty() {
            extras.parts_mut().credential = credential;
        }
        if traits.metadata {
            let greeting = Greeting {
                moves: true,
                serves: self.serves(),
            };
            extras.parts_mut().metadata.push(greeting.entry());
        }
        extras
    }
}
