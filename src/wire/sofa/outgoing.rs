//! From a call or an answer to its meta.

use bytes::Bytes;
use prost::Message;

use crate::wire::brpc::{Dialect as _, Outgoing, errno, filled};
use crate::wire::compress::Compression;
use crate::wire::sofa::meta::{REQUEST, RESPONSE, SofaRpcMeta};
use crate::wire::sofa::{COMPRESSIONS, Sofa};
use crate::wire::{Carries, EncodeError, Extras, OutgoingCall, OutgoingReply};

impl Outgoing for Sofa {
    fn call_meta(call: &OutgoingCall<'_>) -> Result<impl Message, EncodeError> {
        let method = format!("{}.{}", call.method.service, call.method.method);
        Ok(SofaRpcMeta {
            method: Some(Bytes::from(method)),
            compress_type: Some(COMPRESSIONS.number(call.body.compression)),
            ..about(REQUEST, call.id, call.extras)?
        })
    }

    fn reply_meta(reply: &OutgoingReply<'_>) -> Result<impl Message, EncodeError> {
        let meta = about(RESPONSE, reply.id, reply.extras)?;
        Ok(match reply.outcome {
            Ok(body) => SofaRpcMeta {
                failed: Some(false),
                error_code: Some(0),
                compress_type: Some(COMPRESSIONS.number(body.compression)),
                ..meta
            },
            Err(status) => SofaRpcMeta {
                failed: Some(true),
                error_code: Some(errno::native_of(status)),
                reason: filled(status.text.as_bytes()),
                compress_type: Some(COMPRESSIONS.number(Compression::None)),
                ..meta
            },
        })
    }
}

/// What both metas say.
fn about(r#type: i32, id: Option<u64>, extras: &Extras) -> Result<SofaRpcMeta, EncodeError> {
    extras.check(Sofa::NAME, Carries::default())?;
    Ok(SofaRpcMeta {
        r#type: Some(r#type),
        sequence_id: Some(id.ok_or(EncodeError::IdMissing)?),
        ..SofaRpcMeta::default()
    })
}
