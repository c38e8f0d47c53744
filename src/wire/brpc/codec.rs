//! Bytes to frames and back.

use std::marker::PhantomData;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::Message;

use crate::wire::brpc::{Dialect, Sizes};
use crate::wire::codec::SMALL_BYTES;
use crate::wire::sniff::magic;
use crate::wire::{
    Codec, EncodeError, Frame, Head, OutgoingCall, OutgoingReply, Reads, Sniff, Traits, WireError,
};

/// Bytes of a magic number and sizes, at most.
const START_BYTES: usize = 4 + 20;

/// The codec of one protocol of the family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrpcCodec<D> {
    limit: u64,
    dialect: PhantomData<D>,
}

impl<D> BrpcCodec<D> {
    /// A codec for frames of at most `limit` bytes after the header.
    #[must_use]
    pub const fn new(limit: u64) -> Self {
        Self {
            limit,
            dialect: PhantomData,
        }
    }
}

impl<D> Codec for BrpcCodec<D>
where
    D: Dialect + std::fmt::Debug + Send + Sync + 'static,
{
    fn name(&self) -> &'static str {
        D::NAME
    }

    fn traits(&self) -> Traits {
        D::TRAITS
    }

    fn limit(&self) -> u64 {
        self.limit
    }

    fn sniff(&self, bytes: &[u8]) -> Sniff {
        magic(bytes, &D::MAGIC)
    }

    fn decode(&self, reads: Reads, buffer: &mut BytesMut) -> Result<Option<Frame>, WireError> {
        let header = D::MAGIC.len() + D::SIZES;
        check_magic(buffer, D::MAGIC)?;
        let Some(sizes) = buffer.get(D::MAGIC.len()..header) else {
            return Ok(None);
        };
        let sizes = D::read_sizes(sizes, self.limit)?;
        if ((buffer.len() - header) as u64) < sizes.sum() {
            return Ok(None);
        }
        let (Ok(meta), Ok(rest)) = (usize::try_from(sizes.meta), usize::try_from(sizes.rest))
        else {
            return Ok(None);
        };
        let (start, end) = (header + meta, header + meta + rest);
        if rest > SMALL_BYTES {
            let start = buffer.split_to(start);
            let payload = buffer.split_to(rest).freeze();
            let meta = start.get(header..).unwrap_or_default();
            return D::frame(reads, meta, payload).map(Some);
        }
        let payload = Bytes::copy_from_slice(buffer.get(start..end).unwrap_or_default());
        let meta = buffer.get(header..start).unwrap_or_default();
        let frame = D::frame(reads, meta, payload);
        buffer.advance(end);
        frame.map(Some)
    }

    fn call_head(&self, call: &OutgoingCall<'_>) -> Result<Head, EncodeError> {
        let (message, attachment) = (call.body.bytes.len(), call.extras.attachment().len());
        head::<D>(self.limit, &D::call_meta(call)?, message, attachment)
    }

    fn reply_head(&self, reply: &OutgoingReply<'_>) -> Result<Head, EncodeError> {
        let attachment = reply.extras.attachment().len();
        let (message, attachment) = reply
            .outcome
            .map_or((0, 0), |body| (body.bytes.len(), attachment));
        if let Some(meta) = D::usual_reply_meta(reply) {
            let meta = meta.as_ref();
            let mut head = begun::<D>(self.limit, meta.len(), message, attachment)?;
            head.push(meta);
            return Ok(head);
        }
        head::<D>(self.limit, &D::reply_meta(reply)?, message, attachment)
    }
}

/// What stands before a message of `message` bytes and an attachment of `attachment` bytes.
fn head<D: Dialect>(
    limit: u64,
    meta: &impl Message,
    message: usize,
    attachment: usize,
) -> Result<Head, EncodeError> {
    let length = meta.encoded_len();
    let mut head = begun::<D>(limit, length, message, attachment)?;
    let mut room = head.grow(length);
    meta.encode(&mut room).map_err(|short| EncodeError::Meta {
        meta: short.required_capacity() as u64,
        limit: short.remaining() as u64,
    })?;
    Ok(head)
}

/// A head up to its meta, which has `meta` bytes.
fn begun<D: Dialect>(
    limit: u64,
    meta: usize,
    message: usize,
    attachment: usize,
) -> Result<Head, EncodeError> {
    let sizes = Sizes::to_send(meta, message, attachment, limit)?;
    let mut start = [0; START_BYTES];
    let mut room = &mut start[..];
    room.put_slice(&D::MAGIC);
    D::write_sizes(sizes, &mut room);
    let length = START_BYTES - room.len();
    Ok(Head::from(start.get(..length).unwrap_or_default()))
}

/// Refuses bytes as soon as they cannot begin a frame.
fn check_magic(bytes: &[u8], magic: [u8; 4]) -> Result<(), WireError> {
    let start = bytes.get(..magic.len()).unwrap_or(bytes);
    if magic.starts_with(start) {
        return Ok(());
    }
    let mut received = [0; 4];
    for (to, from) in received.iter_mut().zip(start) {
        *to = *from;
    }
    Err(WireError::Magic {
        received,
        length: start.len(),
        expected: magic,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_bytes_are_refused_at_once_and_named_as_far_as_they_came() {
        let said = |bytes: &[u8]| check_magic(bytes, *b"PRPC").map_err(|error| error.to_string());
        for good in [&b""[..], b"P", b"PR", b"PRP", b"PRPC", b"PRPC\0\0"] {
            assert_eq!(said(good), Ok(()));
        }
        for (bad, named) in [
            (&b"G"[..], "G"),
            (b"PX", "PX"),
            (b"PRP\xff\xff", "PRP\\xff"),
            (b"GET / HTTP", "GET "),
            (b"\0\0\0\0", "\\x00\\x00\\x00\\x00"),
        ] {
            let expected = format!("the frame begins with {named}, not with PRPC");
            assert_eq!(said(bad), Err(expected));
        }
    }
}
