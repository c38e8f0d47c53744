//! Streams of frames: however they are cut, they give the same frames and the same end.

use std::mem::discriminant;

use _core::wire::compress::inflate;
use _core::wire::{Body, Codec, Frame, OutgoingReply, Reads, ReplyFrame, WireError};
use bytes::BytesMut;

use crate::{byte, reads};

/// Most bytes of a frame here, few enough for inputs to get near.
pub const LIMIT: u64 = 64 * 1024;

/// Feeds a codec of brpc's family with a stream that comes whole and in pieces.
pub fn brpc(codec: &dyn Codec, mut data: &[u8]) {
    let choice = byte(&mut data);
    stream(codec, reads(choice), usize::from(choice / 3), data);
}

/// Feeds a codec with a stream that comes whole and in pieces of `piece` bytes, and looks at what
/// comes out.
pub fn stream(codec: &dyn Codec, reads: Reads, piece: usize, data: &[u8]) {
    let whole = receive(codec, reads, data, data.len().max(1));
    let pieces = receive(codec, reads, data, 1 + piece % 61);
    assert_eq!(whole.0, pieces.0, "frames depend on how the stream is cut");
    // What was seen of a wrong magic number may differ.
    let kind = |error: &Option<WireError>| error.as_ref().map(discriminant);
    assert_eq!(kind(&whole.1), kind(&pieces.1), "its end does");
    for frame in whole.0 {
        examine(codec, frame);
    }
}

/// All frames of a stream that comes in pieces, and the refusal that ended it.
fn receive(
    codec: &dyn Codec,
    reads: Reads,
    data: &[u8],
    piece: usize,
) -> (Vec<Frame>, Option<WireError>) {
    let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
    for piece in data.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            let (room, before) = (buffer.capacity(), buffer.clone());
            let outcome = codec.decode(reads, &mut buffer);
            assert!(
                buffer.capacity() <= room,
                "reserved for an announced length"
            );
            match outcome {
                Ok(Some(frame)) => {
                    assert!(buffer.len() < before.len(), "a frame of no bytes");
                    frames.push(frame);
                }
                Ok(None) => {
                    assert_eq!(buffer, before, "bytes were taken off for no frame");
                    break;
                }
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

/// Does with a frame what a connection does with it.
fn examine(codec: &dyn Codec, frame: Frame) {
    let limit = usize::try_from(codec.limit()).unwrap_or(usize::MAX);
    let body = match frame {
        Frame::Call(call) => {
            let _ = call.extras.weight();
            call.body.ok()
        }
        Frame::Reply(reply) => {
            settle(codec, &reply);
            reply.outcome.ok()
        }
    };
    if let Some(body) = body
        && let Ok(message) = inflate(body.compression, &body.bytes, limit)
    {
        assert!(message.len() <= limit, "inflated beyond the limit");
    }
}

/// Sent on, an answer is read as what it was.
fn settle(codec: &dyn Codec, reply: &ReplyFrame) {
    let outgoing = OutgoingReply {
        id: reply.id,
        outcome: reply.outcome.as_ref().map(Body::from),
        extras: &reply.extras,
    };
    let Ok(head) = codec.reply_head(&outgoing) else {
        return;
    };
    let body = reply.outcome.as_ref().map_or(&[][..], |body| &body.bytes);
    let tail = match reply.outcome {
        Ok(_) => reply.extras.attachment(),
        Err(_) => &[],
    };
    let mut buffer = BytesMut::from(&[head.as_slice(), body, tail].concat()[..]);
    match codec.decode(Reads::Replies, &mut buffer) {
        Ok(Some(Frame::Reply(again))) => {
            assert_eq!(again.id, reply.id);
            match (&again.outcome, &reply.outcome) {
                (Ok(again), Ok(body)) => assert_eq!(again, body),
                // Failures that were found here have other numbers than those that peers sent.
                (Err(_), Err(_)) => {}
                (again, outcome) => panic!("{outcome:?} was read as {again:?}"),
            }
        }
        other => panic!("{reply:?} was read as {other:?}"),
    }
    assert!(buffer.is_empty(), "{} bytes are left", buffer.len());
}
