//! What an answer looks like on the wire.

use crate::call::{CloseKind, CloseReason, Level, Link as _, Reply};
use crate::net::connection::Connection;
use crate::status::{Code, Status};
use crate::wire::baidu_std::errno;
use crate::wire::{Extras, Head, OutgoingReply};

/// Bytes of text that a failure carries; what quotes its request may be of any length.
const FAILURE_BYTES: usize = 16 * 1024;

/// An answer ready to be written.
#[derive(Debug)]
pub(super) struct Made<'a> {
    pub(super) head: Head,
    pub(super) body: &'a [u8],
    pub(super) tail: &'a [u8],
}

/// One that waits for its turn.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) head: Head,
    pub(super) body: Box<[u8]>,
    pub(super) tail: Box<[u8]>,
}

impl Made<'_> {
    pub(super) fn kept(self) -> Kept {
        Kept {
            head: self.head,
            body: self.body.into(),
            tail: self.tail.into(),
        }
    }
}

impl Kept {
    pub(super) fn made(&self) -> Made<'_> {
        Made {
            head: self.head.clone(),
            body: &self.body,
            tail: &self.tail,
        }
    }
}

impl Connection {
    /// Makes the frame of an answer. What the wire cannot carry becomes a failure; where it cannot
    /// carry failures either, the connection ends.
    pub(super) fn made<'a>(
        &self,
        id: Option<u64>,
        Reply { outcome, extras }: Reply<'a>,
        replaced: &mut Option<Code>,
    ) -> Option<Made<'a>> {
        let unsent;
        let status = match outcome {
            Ok(body) => {
                let reply = OutgoingReply {
                    id,
                    outcome,
                    extras,
                };
                match self.terms.codec.reply_head(&reply) {
                    Ok(head) => {
                        return Some(Made {
                            head,
                            body: body.bytes,
                            tail: extras.attachment(),
                        });
                    }
                    Err(error) => {
                        *replaced = Some(Code::Internal);
                        let text = format!("the response cannot be sent: {error}");
                        self.log(Level::Error, "answer failed", &format!(" text={text:?}"));
                        unsent = Status::new(Code::Internal, text).with_native(errno::ERESPONSE);
                        &unsent
                    }
                }
            }
            Err(status) => status,
        };
        let made = self.made_failure(id, status, extras);
        if made.is_none() {
            let text = format!("a call failed, which this wire cannot say: {status}");
            self.abort(CloseReason::new(CloseKind::CallFailed, text));
        }
        made
    }

    /// The frame of a failure. What cannot go beside it is left out: the failure itself matters.
    pub(super) fn made_failure(
        &self,
        id: Option<u64>,
        status: &Status,
        extras: &Extras,
    ) -> Option<Made<'static>> {
        let status = &status.clone().shortened(FAILURE_BYTES);
        let head = |extras: &Extras| {
            let outcome = Err(status);
            let reply = OutgoingReply {
                id,
                outcome,
                extras,
            };
            self.terms.codec.reply_head(&reply).ok()
        };
        let head = head(extras).or_else(|| head(&Extras::NONE))?;
        Some(Made {
            head,
            body: &[],
            tail: &[],
        })
    }
}
