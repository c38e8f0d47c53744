//! Calls that go out, and how they end.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::status::Status;
use crate::wire::{EncodeError, Extras, MethodName, Payload};

/// A call to be made; kept until it has ended, since it may have to be sent again.
#[derive(Debug, Clone)]
pub struct Outbound {
    /// What is called.
    pub method: Arc<MethodName>,
    /// The request.
    pub body: Payload,
    /// What goes beside it.
    pub extras: Extras,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
}

impl Outbound {
    /// Bytes that it holds while it waits.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.body.bytes.len() + self.extras.weight()
    }
}

/// What a call that succeeded brought back; nothing on a one-way wire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The response.
    pub body: Payload,
    /// What came beside it.
    pub extras: Extras,
}

/// How one try of a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The peer answered well, or the wire has no answers and the frame was handed over.
    Answered(Answer),
    /// It failed here.
    Failed(Status),
    /// The peer answered that it failed.
    Denied(Status, Extras),
    /// The connection was lost before the first byte of the call was written: another one may
    /// take it.
    Unsent(Status),
    /// It cannot be sent at all, which is its caller's mistake.
    Invalid(EncodeError),
}

/// Whoever waits for the end of one try, told exactly once.
pub struct Waiter(Box<dyn FnOnce(Ended) + Send>);

impl Waiter {
    /// Has `told` called with the end.
    #[must_use]
    pub fn new(told: impl FnOnce(Ended) + Send + 'static) -> Self {
        Self(Box::new(told))
    }

    /// Tells it.
    pub fn tell(self, end: Ended) {
        (self.0)(end);
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiter")
    }
}
