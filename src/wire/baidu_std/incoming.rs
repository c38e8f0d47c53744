//! From a meta and what follows it to a frame.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;

use crate::wire::baidu_std::meta::{RpcMeta, RpcRequestMeta, UserField};
use crate::wire::baidu_std::{BaiduStd, COMPRESSIONS, checksum, errno, usual};
use crate::wire::brpc::{Incoming, id, is_call, outcome, parse, required, text};
use crate::wire::{
    BodyFault, CallFrame, Checksum, Frame, Name, Parts, Payload, Reads, ReplyFrame, Target, Trace,
    WireError,
};

/// The highest `content_type`, protobuf's text form. The enum is closed, so that a higher one counts
/// as not set.
const PROTO_TEXT: i32 = 3;

impl Incoming for BaiduStd {
    fn frame(reads: Reads, meta: &[u8], payload: Bytes) -> Result<Frame, WireError> {
        match usual::read(reads, meta) {
            Some(usual) => Ok(usual.frame(payload)),
            None => any_frame(reads, meta, payload),
        }
    }
}

/// The frame of any meta.
pub(super) fn any_frame(reads: Reads, meta: &[u8], payload: Bytes) -> Result<Frame, WireError> {
    let meta: RpcMeta = parse(meta)?;
    if let Some(request) = &meta.request {
        required(request.service_name.as_ref(), "service_name is missing")?;
        required(request.method_name.as_ref(), "method_name is missing")?;
    }
    Ok(if is_call(reads, meta.request.is_some()) {
        Frame::Call(call(meta, payload))
    } else {
        Frame::Reply(reply(meta, payload))
    })
}

/// A call without a request names nothing.
fn call(mut meta: RpcMeta, payload: Bytes) -> CallFrame {
    let (body, attachment) = body(&meta, payload);
    let request = meta.request.take().unwrap_or_default();
    let parts = Parts {
        attachment,
        metadata: metadata(&meta.user_fields),
        trace: trace(&request),
        checksum: checksum::covers(&meta),
        credential: meta.authentication_data.unwrap_or_default(),
    };
    CallFrame {
        target: Target::Name {
            service: Name::from_slice(request.service_name.as_deref().unwrap_or_default()),
            method: Name::from_slice(request.method_name.as_deref().unwrap_or_default()),
        },
        id: Some(id(meta.correlation_id)),
        timeout: request.timeout_ms.and_then(timeout),
        body,
        extras: parts.into(),
    }
}

/// An answer without a response reports a success.
fn reply(mut meta: RpcMeta, payload: Bytes) -> ReplyFrame {
    let (body, attachment) = body(&meta, payload);
    let response = meta.response.take().unwrap_or_default();
    let failed = response.error_code.is_some_and(|native| native != 0);
    let parts = Parts {
        attachment: if failed { Bytes::new() } else { attachment },
        metadata: metadata(&meta.user_fields),
        checksum: if failed {
            Checksum::None
        } else {
            checksum::covers(&meta)
        },
        ..Parts::default()
    };
    ReplyFrame {
        id: Some(id(meta.correlation_id)),
        outcome: outcome(
            response.error_code,
            response.error_text.as_deref(),
            body,
            |fault| match fault {
                BodyFault::Attachment { .. } => errno::ERESPONSE,
                _ => errno::EREQUEST,
            },
        ),
        extras: parts.into(),
    }
}

/// The message and the attachment. brpc looks for faults in this order; it takes everything for the
/// message when the size of the attachment is negative.
fn body(meta: &RpcMeta, mut payload: Bytes) -> (Result<Payload, BodyFault>, Bytes) {
    let announced = meta.attachment_size.unwrap_or(0);
    let there = payload.len();
    let size = usize::try_from(announced).unwrap_or(0);
    let Some(message) = there.checked_sub(size) else {
        let announced = announced.into();
        return (
            Err(BodyFault::Attachment { announced, there }),
            Bytes::new(),
        );
    };
    let attachment = payload.split_off(message);
    let body = sound(meta, &payload, &attachment)
        .and_then(|()| COMPRESSIONS.payload(meta.compress_type, payload))
        .and_then(|message| match meta.content_type {
            Some(number @ 1..=PROTO_TEXT) => Err(BodyFault::Content(number)),
            _ => Ok(message),
        });
    (body, attachment)
}

/// Whether the message is the one that the sender protected.
fn sound(meta: &RpcMeta, message: &[u8], attachment: &[u8]) -> Result<(), BodyFault> {
    let covers = checksum::covers(meta);
    if covers == Checksum::None {
        return Ok(());
    }
    let value = meta.checksum_value.as_deref().unwrap_or_default();
    if value == checksum::value(covers, message, attachment) {
        Ok(())
    } else {
        Err(BodyFault::Checksum)
    }
}

/// brpc sends no time that is not above 0, and its server drops no call for such a one.
pub(super) fn timeout(milliseconds: i32) -> Option<Duration> {
    let milliseconds = u64::try_from(milliseconds).ok()?;
    (milliseconds > 0).then(|| Duration::from_millis(milliseconds))
}

fn trace(request: &RpcRequestMeta) -> Trace {
    Trace {
        log_id: request.log_id,
        trace_id: request.trace_id,
        span_id: request.span_id,
        parent_span_id: request.parent_span_id,
        request_id: request.request_id.as_deref().map(text),
    }
}

/// The entries of a map: of those with one key, the last one is in it.
fn metadata(fields: &[UserField]) -> Vec<(String, String)> {
    // What is not kept is not copied either: a meta has room for very many entries.
    let mut keys = HashSet::new();
    let mut metadata: Vec<_> = fields
        .iter()
        .rev()
        .map(|field| (lossy(field.key.as_ref()), lossy(field.value.as_ref())))
        .filter(|(key, _)| keys.insert(key.clone()))
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
    metadata.reverse();
    metadata
}

fn lossy(part: Option<&Bytes>) -> Cow<'_, str> {
    String::from_utf8_lossy(part.map(|part| &part[..]).unwrap_or_default())
}
