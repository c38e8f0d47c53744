//! From a call or an answer to its meta.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use crate::wire::baidu_std::meta::{RpcMeta, RpcRequestMeta, RpcResponseMeta, UserField};
use crate::wire::baidu_std::{BaiduStd, COMPRESSIONS, checksum, errno, usual};
use crate::wire::brpc::{Outgoing, correlation_id, filled};
use crate::wire::compress::Compression;
use crate::wire::{Body, Checksum, EncodeError, Extras, OutgoingCall, OutgoingReply};

/// `content_type` of protobuf's binary form.
const PROTOBUF: i32 = 0;

impl Outgoing for BaiduStd {
    fn call_meta(call: &OutgoingCall<'_>) -> Result<impl Message, EncodeError> {
        let copied = |name: &str| Some(Bytes::copy_from_slice(name.as_bytes()));
        let mut request = RpcRequestMeta {
            service_name: copied(&call.method.service),
            method_name: copied(&call.method.method),
            timeout_ms: call.timeout.map(milliseconds),
            ..RpcRequestMeta::default()
        };
        let mut meta = about(call.id, call.extras.metadata())?;
        if let Some(parts) = call.extras.parts() {
            let trace = &parts.trace;
            request.log_id = trace.log_id;
            request.trace_id = trace.trace_id;
            request.span_id = trace.span_id;
            request.parent_span_id = trace.parent_span_id;
            request.request_id = trace.request_id.as_deref().and_then(copied);
            meta.authentication_data = filled(&parts.credential);
        }
        meta.request = Some(request);
        carry(&mut meta, call.body, call.extras);
        Ok(meta)
    }

    fn usual_reply_meta(reply: &OutgoingReply<'_>) -> Option<impl AsRef<[u8]>> {
        usual::reply_meta(reply)
    }

    fn reply_meta(reply: &OutgoingReply<'_>) -> Result<impl Message, EncodeError> {
        let mut meta = about(reply.id, reply.extras.metadata())?;
        meta.response = Some(match reply.outcome {
            Ok(_) => RpcResponseMeta {
                error_code: Some(0),
                error_text: None,
            },
            Err(status) => RpcResponseMeta {
                error_code: Some(errno::native_of(status)),
                error_text: filled(status.text.as_bytes()),
            },
        });
        if let Ok(body) = reply.outcome {
            carry(&mut meta, body, reply.extras);
        }
        Ok(meta)
    }
}

/// What every meta says, and says of a message that is not there. brpc writes all these fields, too.
fn about(id: Option<u64>, metadata: &[(String, String)]) -> Result<RpcMeta, EncodeError> {
    let copied = |part: &String| Some(Bytes::copy_from_slice(part.as_bytes()));
    let field = |(key, value): &(String, String)| UserField {
        key: copied(key),
        value: copied(value),
    };
    Ok(RpcMeta {
        compress_type: Some(COMPRESSIONS.number(Compression::None)),
        correlation_id: Some(correlation_id(id)?),
        user_fields: metadata.iter().map(field).collect(),
        content_type: Some(PROTOBUF),
        checksum_type: Some(checksum::NONE),
        checksum_value: Some(Bytes::new()),
        ..RpcMeta::default()
    })
}

/// Says how a message and an attachment follow the meta.
fn carry(meta: &mut RpcMeta, body: Body<'_>, extras: &Extras) {
    let attachment = extras.attachment();
    meta.compress_type = Some(COMPRESSIONS.number(body.compression));
    // An attachment above the largest i32 makes a frame that is refused for its size.
    meta.attachment_size = i32::try_from(attachment.len())
        .ok()
        .filter(|&size| size > 0);
    let covers = extras
        .parts()
        .map(|parts| parts.checksum)
        .unwrap_or_default();
    if covers != Checksum::None {
        let value = checksum::value(covers, body.bytes, attachment);
        meta.checksum_type = Some(checksum::CRC32C);
        meta.checksum_value = Some(Bytes::copy_from_slice(&value));
        meta.checksum_with_attachment = (covers == Checksum::MessageAndAttachment).then_some(true);
    }
}

/// Whole milliseconds: rounded up, and at least one, since 0 counts as none.
fn milliseconds(timeout: Duration) -> i32 {
    let milliseconds = timeout.as_nanos().div_ceil(1_000_000).max(1);
    i32::try_from(milliseconds).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_rounded_up_and_never_nothing() {
        for (timeout, expected) in [
            (Duration::ZERO, 1),
            (Duration::from_nanos(1), 1),
            (Duration::from_millis(1), 1),
            (Duration::from_nanos(1_000_001), 2),
            (Duration::from_millis(1_500), 1_500),
            (Duration::from_millis(i32::MAX as u64), i32::MAX),
            (Duration::from_millis(i32::MAX as u64 + 1), i32::MAX),
            (Duration::MAX, i32::MAX),
        ] {
            assert_eq!(milliseconds(timeout), expected, "{timeout:?}");
        }
    }
}
