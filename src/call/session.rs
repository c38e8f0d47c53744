//! The door between the core and whoever runs the user's methods.
//!
//! The core calls up through [`Session`], which the border implements; a session speaks to its
//! peer through [`Link`], which a connection implements. Neither knows the other's floor.

use std::fmt;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use crate::call::{CloseReason, Turn};
use crate::schema::ServiceSchema;
use crate::status::Status;

/// One call as it came in.
#[derive(Debug)]
pub struct Call {
    /// Place of the method in the service's table; always within it.
    pub method: usize,
    /// The serialized request.
    pub body: Bytes,
}

/// What happens to a session, in the order in which it happened on the connection.
#[derive(Debug)]
pub enum Event {
    /// The connection is there; comes first.
    Opened,
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

/// The other end of a connection, to call back and to close.
pub trait Link: fmt::Debug + Send + Sync + 'static {
    /// Where the peer is.
    fn peer(&self) -> &str;

    /// Name of the protocol spoken.
    fn protocol(&self) -> &'static str;

    /// Names the methods that the peer may call. Nothing is read from the peer before that.
    fn serve(&self, schema: Arc<ServiceSchema>);

    /// Calls the method at `index` of the peer's service; never waits.
    ///
    /// # Errors
    /// The frame cannot be made (`INVALID_ARGUMENT`), too much is unwritten
    /// (`RESOURCE_EXHAUSTED`), the connection is gone (`UNAVAILABLE`).
    fn call(&self, index: u32, body: &[u8]) -> Result<(), Status>;

    /// Whether calls can still be sent.
    fn is_open(&self) -> bool;

    /// Whether the connection was lost, as opposed to ended by its peer between two frames.
    fn is_lost(&self) -> bool;

    /// Tells `listener` once when the connection is lost; at once when it is lost already.
    fn on_loss(&self, listener: Weak<dyn LossListener>);

    /// Writes what waits, then closes this side; reading goes on to the peer's end of stream.
    fn finish(&self, reason: CloseReason);

    /// Ends the connection now.
    fn abort(&self, reason: CloseReason);
}

/// Somebody who wants to know that a connection was lost.
pub trait LossListener: Send + Sync {
    /// The connection was lost.
    fn lost(&self);
}
