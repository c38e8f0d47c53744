//! The door between the core and whoever runs the user's methods.
//!
//! The core calls up through [`Session`], which the border implements; a session speaks to its
//! peer through [`Link`], which a connection implements. Neither knows the other's floor.

use std::fmt;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use crate::call::{
    Admission, CloseReason, Outbound, Place, Registry, ReplyTo, Tally, Ticket, TlsInfo, Turn,
    Waiter,
};
use crate::status::{Code, Status};
use crate::wire::compress::Compression;
use crate::wire::{Body, Extras, Payload, Traits};

/// Bytes of a request up to which it is read in no time.
const LIGHT_BYTES: usize = 64 * 1024;

/// One call as it came in.
#[derive(Debug)]
pub struct Call {
    /// What is called; always within the registry's tables.
    pub place: Place,
    /// The request.
    pub body: Payload,
    /// What came beside it.
    pub extras: Extras,
    /// The duty to end it.
    pub ticket: Arc<Ticket>,
}

impl Call {
    /// Bytes that it holds while it waits.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.body.bytes.len() + self.extras.weight()
    }

    /// Whether to read its request may take long: it is large, or may be once it is inflated.
    #[must_use]
    pub fn is_heavy(&self) -> bool {
        self.body.compression != Compression::None || self.body.bytes.len() > LIGHT_BYTES
    }
}

/// An answer.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// The response, or how the call failed.
    pub outcome: Result<Body<'a>, &'a Status>,
    /// What goes beside it.
    pub extras: &'a Extras,
}

/// What happens to a session, in the order in which it happened on the connection.
#[derive(Debug)]
pub enum Event {
    /// The connection is there; comes first.
    Opened,
    /// What the peer says about who it is, and what goes beside its first call; comes before that
    /// where it is asked for.
    Credential(Bytes, Vec<(String, String)>),
    /// The peer calls.
    Call(Call),
    /// The connection ended; comes last.
    Closed(CloseReason),
}

/// What serves one peer.
pub trait Session: fmt::Debug + Send + Sync + 'static {
    /// Runs one event of `link`; returns when the next one may be run, or takes a hold of the
    /// turn to end it later.
    fn handle(&self, link: &Arc<dyn Link>, event: Event, turn: &mut Turn<'_>);
}

/// The other end of a connection, to call back, to answer and to close.
pub trait Link: fmt::Debug + Send + Sync + 'static {
    /// Where the peer is.
    fn peer(&self) -> &str;

    /// Name of the protocol spoken.
    fn protocol(&self) -> &'static str;

    /// What is known of the peer by TLS; `None` where there is none.
    fn tls(&self) -> Option<&Arc<TlsInfo>> {
        None
    }

    /// What the protocol can carry.
    fn traits(&self) -> Traits;

    /// Most bytes of a message, once inflated.
    fn limit(&self) -> usize;

    /// Whether a request that is none ends the connection, where the wire cannot say so otherwise.
    fn closes_on_bad_body(&self) -> bool;

    /// Names the services that the peer may call. Nothing is read from the peer before that.
    fn serve(&self, registry: Arc<Registry>);

    /// Says whether the peer is whom it says it is, in answer to [`Event::Credential`].
    fn judge(&self, verdict: Result<(), Status>);

    /// Calls the peer; never waits for room. The waiter is told once, maybe before this returns,
    /// in which case there is nothing to cancel.
    fn call(&self, call: &Outbound, waiter: Waiter) -> Option<u64>;

    /// Ends a call that [`Link::call`] gave this number to as `CANCELLED`, unless it has ended.
    fn cancel(&self, number: u64);

    /// Says how a call ended; `None` when nothing is to be said. Once for each ticket. Gives the
    /// code of the failure that was said instead, where the wire cannot carry the answer.
    fn answer(&self, to: ReplyTo, answer: Option<Reply<'_>>) -> Option<Code>;

    /// The door at which its calls get their permits; `None` where nobody bounds how much is under
    /// way.
    fn door(&self) -> Option<&Admission>;

    /// Who counts how calls that came by it end.
    fn tally(&self) -> &dyn Tally;

    /// Whether calls can still be sent.
    fn is_open(&self) -> bool;

    /// Whether the connection was lost, as opposed to ended by its peer between two frames.
    fn is_lost(&self) -> bool;

    /// Tells `listener` once when the connection is lost; at once when it is lost already.
    fn on_loss(&self, listener: Weak<dyn LossListener>);

    /// Writes what waits and what is still to be answered, then closes this side; reading goes on
    /// to the peer's end of stream.
    fn finish(&self, reason: CloseReason);

    /// Ends the connection now.
    fn abort(&self, reason: CloseReason);
}

/// Somebody who wants to know that a connection was lost.
pub trait LossListener: Send + Sync {
    /// The connection was lost.
    fn lost(&self);
}
