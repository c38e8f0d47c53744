//! How a call ended, by an answer.

use crate::status::{Code, Status};
use crate::wire::brpc::{errno, text};
use crate::wire::{BodyFault, Payload};

/// The response, or how the call failed; `unreadable` is the number that brpc's client has for a
/// response with such a fault. What comes beside a failure is no response.
pub(crate) fn outcome(
    native: Option<i32>,
    reason: Option<&[u8]>,
    response: Result<Payload, BodyFault>,
    unreadable: impl FnOnce(BodyFault) -> i32,
) -> Result<Payload, Status> {
    match native {
        Some(native) if native != 0 => {
            let text = text(reason.unwrap_or_default());
            Err(Status::new(errno::code_of(native), text).with_native(native))
        }
        _ => response.map_err(|fault| {
            let text = format!("the response cannot be read: {fault}");
            Status::new(Code::Internal, text).with_native(unreadable(fault))
        }),
    }
}
