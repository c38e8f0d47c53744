//! From a call or an answer to its meta.

use bytes::Bytes;
use prost::Message;

use crate::wire::brpc::{Dialect as _, Outgoing, correlation_id, errno, filled};
use crate::wire::compress::Compression;
use crate::wire::hulu::meta::{HuluRpcRequestMeta, HuluRpcResponseMeta};
use crate::wire::hulu::{COMPRESSIONS, Hulu};
use crate::wire::{Body, Carries, EncodeError, Extras, OutgoingCall, OutgoingReply};

/// Answers have no fields for ids, and none to carry.
const CARRIES: Carries = Carries {
    attachment: true,
    metadata: false,
    checksum: false,
    trace: true,
    request_id: false,
};

impl Outgoing for Hulu {
    fn call_meta(call: &OutgoingCall<'_>) -> Result<impl Message, EncodeError> {
        call.extras.check(Self::NAME, CARRIES)?;
        let index = call.method.index;
        let method_index = i32::try_from(index).map_err(|_| EncodeError::Index {
            index,
            largest: i32::MAX as u64,
        })?;
        // Only the bare name is known to the servers of this protocol.
        let service = call.method.service.rsplit('.').next().unwrap_or_default();
        let mut meta = HuluRpcRequestMeta {
            service_name: Some(Bytes::copy_from_slice(service.as_bytes())),
            method_index: Some(method_index),
            compress_type: Some(COMPRESSIONS.number(call.body.compression)),
            correlation_id: Some(correlation_id(call.id)?),
            user_message_size: message_size(call.body, call.extras),
            ..HuluRpcRequestMeta::default()
        };
        if let Some(parts) = call.extras.parts() {
            meta.log_id = parts.trace.log_id;
            meta.trace_id = parts.trace.trace_id;
            meta.span_id = parts.trace.span_id;
            meta.parent_span_id = parts.trace.parent_span_id;
            meta.credential_data = filled(&parts.credential);
        }
        Ok(meta)
    }

    fn reply_meta(reply: &OutgoingReply<'_>) -> Result<impl Message, EncodeError> {
        reply.extras.check(Self::NAME, CARRIES)?;
        let meta = HuluRpcResponseMeta {
            correlation_id: Some(correlation_id(reply.id)?),
            ..HuluRpcResponseMeta::default()
        };
        Ok(match reply.outcome {
            Ok(body) => HuluRpcResponseMeta {
                error_code: Some(0),
                compress_type: Some(COMPRESSIONS.number(body.compression)),
                user_message_size: message_size(body, reply.extras),
                ..meta
            },
            Err(status) => HuluRpcResponseMeta {
                error_code: Some(errno::native_of(status)),
                error_text: filled(status.text.as_bytes()),
                compress_type: Some(COMPRESSIONS.number(Compression::None)),
                ..meta
            },
        })
    }
}

/// The size of the message, which other implementations want to see only where an attachment
/// follows. One above the largest i32 makes a frame that is refused for its size.
fn message_size(body: Body<'_>, extras: &Extras) -> Option<i32> {
    i32::try_from(body.bytes.len())
        .ok()
        .filter(|_| !extras.attachment().is_empty())
}
