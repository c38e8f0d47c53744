//! Frames of this protocol as calls and replies of any.

use bytes::BytesMut;

use crate::wire::compress::Compression;
use crate::wire::indexed::number::largest;
use crate::wire::indexed::{Frame, FrameKind, IndexedCodec, Reply};
use crate::wire::{
    Answers, Body, CallFrame, Carries, Codec, EncodeError, Extras, Frame as Enveloped, Head,
    OutgoingCall, OutgoingReply, Payload, Reads, ReplyFrame, Sniff, Target, Traits, WireError,
};

/// The protocol's name.
const NAME: &str = "indexed";

/// Nothing but a message fits into these frames.
fn bare(extras: &Extras, body: Body<'_>) -> Result<usize, EncodeError> {
    if body.compression != Compression::None {
        return Err(EncodeError::Extra {
            protocol: NAME,
            what: "compression",
        });
    }
    extras.check(NAME, Carries::default())?;
    Ok(body.bytes.len())
}

impl Codec for IndexedCodec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn traits(&self) -> Traits {
        Traits {
            answers: match self.layout().reply {
                Reply::None => Answers::Never,
                Reply::ById => Answers::ById,
                Reply::InOrder => Answers::InOrder,
            },
            failures: false,
            concurrent: self.layout().id_width > 0 && self.layout().reply != Reply::None,
            credentials: false,
            metadata: false,
            both_ways: self.layout().reply == Reply::None,
            largest_id: largest(self.layout().id_width),
        }
    }

    fn limit(&self) -> u64 {
        self.layout().max_length
    }

    fn sniff(&self, bytes: &[u8]) -> Sniff {
        match bytes.get(..self.layout().length_width) {
            None => Sniff::NeedMore,
            Some(length) => match self
                .layout()
                .after_length(FrameKind::Call, self.layout().byte_order.number(length))
            {
                Ok(_) => Sniff::Matched,
                Err(_) => Sniff::None,
            },
        }
    }

    fn decode(&self, reads: Reads, buffer: &mut BytesMut) -> Result<Option<Enveloped>, WireError> {
        let kind = match reads {
            Reads::Replies if self.layout().reply != Reply::None => FrameKind::Reply,
            Reads::Calls | Reads::Replies | Reads::Both => FrameKind::Call,
        };
        let Some(Frame { index, id, body }) = Self::decode(self, kind, buffer)? else {
            return Ok(None);
        };
        let (body, extras) = (Payload::plain(body), Extras::default());
        Ok(Some(match index {
            Some(index) => Enveloped::Call(CallFrame {
                target: Target::Index(index),
                id,
                timeout: None,
                body: Ok(body),
                extras,
            }),
            None => Enveloped::Reply(ReplyFrame {
                id,
                outcome: Ok(body),
                extras,
            }),
        }))
    }

    fn call_head(&self, call: &OutgoingCall<'_>) -> Result<Head, EncodeError> {
        let body = bare(call.extras, call.body)?;
        let id = call.id.filter(|_| self.layout().id_width > 0);
        Self::call_head(self, call.method.index, id, body)
    }

    fn reply_head(&self, reply: &OutgoingReply<'_>) -> Result<Head, EncodeError> {
        let Ok(body) = reply.outcome else {
            return Err(EncodeError::Failure(NAME));
        };
        let id = reply.id.filter(|_| self.layout().id_width > 0);
        Self::reply_head(self, id, bare(reply.extras, body)?)
    }
}
