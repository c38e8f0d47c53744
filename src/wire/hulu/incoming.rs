//! From a meta and what follows it to a frame.

use bytes::Bytes;

use crate::wire::brpc::{Incoming, errno, id, outcome, parse, required};
use crate::wire::hulu::meta::{HuluRpcRequestMeta, HuluRpcResponseMeta};
use crate::wire::hulu::{COMPRESSIONS, Hulu};
use crate::wire::{
    BodyFault, CallFrame, Frame, Parts, Payload, Reads, ReplyFrame, Target, Trace, WireError,
};

impl Incoming for Hulu {
    fn frame(reads: Reads, meta: &[u8], payload: Bytes) -> Result<Frame, WireError> {
        match reads {
            Reads::Calls | Reads::Both => call(parse(meta)?, payload).map(Frame::Call),
            Reads::Replies => Ok(Frame::Reply(reply(&parse(meta)?, payload))),
        }
    }
}

fn call(meta: HuluRpcRequestMeta, payload: Bytes) -> Result<CallFrame, WireError> {
    let (body, attachment) = body(meta.compress_type, meta.user_message_size, payload);
    let parts = Parts {
        attachment,
        trace: Trace {
            log_id: meta.log_id,
            trace_id: meta.trace_id,
            span_id: meta.span_id,
            parent_span_id: meta.parent_span_id,
            request_id: None,
        },
        credential: meta.credential_data.unwrap_or_default(),
        ..Parts::default()
    };
    Ok(CallFrame {
        target: Target::Place {
            service: required(meta.service_name, "service_name is missing")?,
            index: required(meta.method_index, "method_index is missing")?,
        },
        id: Some(id(meta.correlation_id)),
        timeout: None,
        body,
        extras: parts.into(),
    })
}

fn reply(meta: &HuluRpcResponseMeta, payload: Bytes) -> ReplyFrame {
    let (body, attachment) = body(meta.compress_type, meta.user_message_size, payload);
    let text = meta.error_text.as_deref();
    let outcome = outcome(meta.error_code, text, body, |_| errno::ERESPONSE);
    let parts = Parts {
        attachment: if outcome.is_ok() {
            attachment
        } else {
            Bytes::new()
        },
        ..Parts::default()
    };
    ReplyFrame {
        id: Some(id(meta.correlation_id)),
        outcome,
        extras: parts.into(),
    }
}

/// The message and the attachment. brpc takes everything for the message when its size is negative
/// or more than is there.
fn body(
    compress_type: Option<i32>,
    size: Option<i32>,
    mut payload: Bytes,
) -> (Result<Payload, BodyFault>, Bytes) {
    let there = payload.len();
    let size = size
        .and_then(|size| usize::try_from(size).ok())
        .unwrap_or(there);
    let attachment = payload.split_off(size.min(there));
    let body = COMPRESSIONS.payload(compress_type, payload);
    (body, attachment)
}
