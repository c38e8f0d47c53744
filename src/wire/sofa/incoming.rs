//! From a meta and what follows it to a frame.

use bytes::Bytes;

use crate::wire::brpc::{Incoming, errno, is_call, outcome, parse, required};
use crate::wire::sofa::meta::{REQUEST, RESPONSE, SofaRpcMeta};
use crate::wire::sofa::{COMPRESSIONS, Sofa};
use crate::wire::{
    BodyFault, CallFrame, Extras, Frame, Name, Payload, Reads, ReplyFrame, Target, WireError,
};

impl Incoming for Sofa {
    fn frame(reads: Reads, meta: &[u8], payload: Bytes) -> Result<Frame, WireError> {
        let meta: SofaRpcMeta = parse(meta)?;
        let is_request = match required(meta.r#type, "type is missing")? {
            REQUEST => true,
            RESPONSE => false,
            _ => return Err(WireError::Meta("type is neither a call's nor an answer's")),
        };
        let id = required(meta.sequence_id, "sequence_id is missing")?;
        let body = COMPRESSIONS.payload(meta.compress_type, payload);
        Ok(if is_call(reads, is_request) {
            Frame::Call(call(id, &meta.method.unwrap_or_default(), body))
        } else {
            Frame::Reply(reply(id, &meta, body))
        })
    }
}

fn call(id: u64, method: &[u8], body: Result<Payload, BodyFault>) -> CallFrame {
    CallFrame {
        target: target(method),
        id: Some(id),
        timeout: None,
        body,
        extras: Extras::default(),
    }
}

fn reply(id: u64, meta: &SofaRpcMeta, body: Result<Payload, BodyFault>) -> ReplyFrame {
    // A call that failed without a number has failed nevertheless.
    let native = match (meta.error_code, meta.failed) {
        (None | Some(0), Some(true)) => Some(errno::EINTERNAL),
        (native, _) => native,
    };
    ReplyFrame {
        id: Some(id),
        outcome: outcome(native, meta.reason.as_deref(), body, |_| errno::ERESPONSE),
        extras: Extras::default(),
    }
}

/// `game.GameService.connect`, split at the last dot; without one, all of it is the method.
fn target(name: &[u8]) -> Target {
    let mut parts = name.rsplitn(2, |&byte| byte == b'.');
    let (method, service) = (parts.next(), parts.next());
    Target::Name {
        service: Name::from_slice(service.unwrap_or_default()),
        method: Name::from_slice(method.unwrap_or_default()),
    }
}
