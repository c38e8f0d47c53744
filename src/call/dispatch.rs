//! From a frame to a method, or to the reason why not.

use crate::schema::MethodTable;
use crate::wire::{Frame, WireError};

/// Why something that a peer sent was not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectReason {
    /// The announced length does not cover what stands before the body.
    LengthBelowHeader,
    /// The announced length is above the limit.
    LengthAboveLimit,
    /// No method has that index.
    UnknownMethod,
    /// The body is no request of the method.
    BadBody,
    /// The stream ended inside a frame.
    Truncated,
}

impl RejectReason {
    /// All reasons.
    pub const ALL: [Self; 5] = [
        Self::LengthBelowHeader,
        Self::LengthAboveLimit,
        Self::UnknownMethod,
        Self::BadBody,
        Self::Truncated,
    ];

    /// The label it is counted under.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::LengthBelowHeader => "length_below_header",
            Self::LengthAboveLimit => "length_above_limit",
            Self::UnknownMethod => "unknown_method",
            Self::BadBody => "bad_body",
            Self::Truncated => "truncated",
        }
    }
}

impl From<WireError> for RejectReason {
    fn from(error: WireError) -> Self {
        match error {
            WireError::LengthBelowHeader { .. } => Self::LengthBelowHeader,
            WireError::LengthAboveLimit { .. } => Self::LengthAboveLimit,
            WireError::Truncated { .. } => Self::Truncated,
        }
    }
}

/// A frame that names no method.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("method index {index} is not below {methods}, the number of methods of {service}")]
pub struct Refusal {
    /// The index on the wire.
    pub index: u32,
    /// How many methods there are.
    pub methods: usize,
    /// Full name of the service.
    pub service: String,
}

/// The place in `table` of the method that `frame` calls.
///
/// # Errors
/// No method stands at that index.
pub fn resolve(table: &MethodTable, frame: &Frame) -> Result<usize, Refusal> {
    let index = frame.index.unwrap_or(u32::MAX);
    let methods = table.methods().len();
    usize::try_from(index)
        .ok()
        .filter(|&place| place < methods)
        .ok_or_else(|| Refusal {
            index,
            methods,
            service: table.service().to_owned(),
        })
}
