//! A peer that speaks any protocol, by its codec: a caller, or a server that does as it is told.

use std::cell::RefCell;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use _core::net::address::Address;
use _core::status::Status;
use _core::wire::{
    Body, CallFrame, Codec, Extras, Frame, OutgoingCall, OutgoingReply, Payload, Reads, ReplyFrame,
};
use bytes::{Bytes, BytesMut};

use super::{PATIENCE, Peer, eventually_within, method};

/// A peer on a socket, and the codec that it speaks with.
#[derive(Debug)]
pub(crate) struct Talker {
    pub(crate) peer: Peer,
    codec: Arc<dyn Codec>,
    reads: Reads,
    buffer: BytesMut,
}

impl Talker {
    fn new(peer: Peer, codec: &Arc<dyn Codec>, reads: Reads) -> Self {
        Self {
            peer,
            codec: Arc::clone(codec),
            reads,
            buffer: BytesMut::new(),
        }
    }

    /// A caller.
    #[track_caller]
    pub(crate) fn connect(address: &Address, codec: &Arc<dyn Codec>) -> Self {
        Self::new(Peer::connect(address).unwrap(), codec, Reads::Replies)
    }

    /// The same, who serves too.
    #[track_caller]
    pub(crate) fn connect_both(address: &Address, codec: &Arc<dyn Codec>) -> Self {
        Self::new(Peer::connect(address).unwrap(), codec, Reads::Both)
    }

    /// A server of the next connection.
    #[track_caller]
    pub(crate) fn accept(listener: &UnixListener, codec: &Arc<dyn Codec>) -> Self {
        Self::accept_with(listener, codec, Reads::Calls)
    }

    /// The same, who calls too.
    #[track_caller]
    pub(crate) fn accept_both(listener: &UnixListener, codec: &Arc<dyn Codec>) -> Self {
        Self::accept_with(listener, codec, Reads::Both)
    }

    #[track_caller]
    fn accept_with(listener: &UnixListener, codec: &Arc<dyn Codec>, reads: Reads) -> Self {
        listener.set_nonblocking(true).unwrap();
        let accepted = RefCell::new(None);
        // Less than it takes until a connection is given up for which nobody reads.
        eventually_within(PATIENCE / 4, "a connection", || {
            *accepted.borrow_mut() = listener.accept().ok();
            accepted.borrow().is_some()
        });
        let (stream, _) = accepted.into_inner().unwrap();
        stream.set_nonblocking(false).unwrap();
        Self::new(Peer::unix(stream), codec, reads)
    }

    /// The bytes of a call.
    pub(crate) fn call_frame(
        &self,
        id: u64,
        index: u16,
        body: &[u8],
        timeout: Option<Duration>,
        extras: &Extras,
    ) -> Vec<u8> {
        let body = Payload::plain(Bytes::copy_from_slice(body));
        let call = OutgoingCall {
            method: &method(u32::from(index)),
            id: Some(id),
            timeout,
            body: Body::from(&body),
            extras,
        };
        let head = self.codec.call_head(&call).unwrap();
        [head.as_slice(), &body.bytes, extras.attachment()].concat()
    }

    /// The bytes of a call with nothing beside it.
    pub(crate) fn frame(&self, id: u64, index: u16, body: &[u8]) -> Vec<u8> {
        self.call_frame(id, index, body, None, &Extras::default())
    }

    pub(crate) fn call(&mut self, id: u64, index: u16, body: &[u8]) {
        let frame = self.frame(id, index, body);
        self.peer.send(&frame);
    }

    pub(crate) fn call_within(&mut self, id: u64, index: u16, body: &[u8], timeout: Duration) {
        let frame = self.call_frame(id, index, body, Some(timeout), &Extras::default());
        self.peer.send(&frame);
    }

    pub(crate) fn call_with(&mut self, id: u64, index: u16, body: &[u8], extras: &Extras) {
        let frame = self.call_frame(id, index, body, None, extras);
        self.peer.send(&frame);
    }

    /// The bytes of an answer.
    pub(crate) fn reply_frame(&self, id: Option<u64>, outcome: Result<&[u8], &Status>) -> Vec<u8> {
        let extras = Extras::default();
        let plain = |bytes| Body {
            bytes,
            ..Body::default()
        };
        let reply = OutgoingReply {
            id,
            outcome: outcome.map(plain),
            extras: &extras,
        };
        let head = self.codec.reply_head(&reply).unwrap();
        [head.as_slice(), outcome.unwrap_or_default()].concat()
    }

    pub(crate) fn answer(&mut self, id: Option<u64>, body: &[u8]) {
        let frame = self.reply_frame(id, Ok(body));
        self.peer.send(&frame);
    }

    pub(crate) fn fail(&mut self, id: Option<u64>, status: &Status) {
        let frame = self.reply_frame(id, Err(status));
        self.peer.send(&frame);
    }

    /// The next frame; `None` at the end of the stream, however it ended.
    #[track_caller]
    pub(crate) fn receive(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.codec.decode(self.reads, &mut self.buffer).unwrap() {
                return Some(frame);
            }
            if !self.peer.read_more(&mut self.buffer) {
                return None;
            }
        }
    }

    /// The next answer; `None` at the end of the stream.
    #[track_caller]
    pub(crate) fn reply(&mut self) -> Option<ReplyFrame> {
        match self.receive()? {
            Frame::Reply(reply) => Some(reply),
            Frame::Call(call) => panic!("{call:?} is no answer"),
        }
    }

    /// The id and the body of the next answer, which is no failure.
    #[track_caller]
    pub(crate) fn answered(&mut self) -> (u64, Vec<u8>) {
        let reply = self.reply().expect("an answer");
        let body = reply.outcome.expect("no failure").bytes;
        (reply.id.unwrap_or_default(), body.to_vec())
    }

    /// The id of the next answer and the failure that it is.
    #[track_caller]
    pub(crate) fn failed(&mut self) -> (u64, Status) {
        let reply = self.reply().expect("an answer");
        let status = reply.outcome.expect_err("a failure");
        (reply.id.unwrap_or_default(), status)
    }

    /// The next call; `None` at the end of the stream.
    #[track_caller]
    pub(crate) fn called(&mut self) -> Option<CallFrame> {
        match self.receive()? {
            Frame::Call(call) => Some(call),
            Frame::Reply(reply) => panic!("{reply:?} is no call"),
        }
    }

    /// The id and the body of the next call.
    #[track_caller]
    pub(crate) fn next_call(&mut self) -> (Option<u64>, Vec<u8>) {
        let call = self.called().expect("a call");
        (call.id, call.body.unwrap().bytes.to_vec())
    }

    /// Answers the next call with its body, and says which it was.
    #[track_caller]
    pub(crate) fn echo(&mut self) -> Vec<u8> {
        let (id, body) = self.next_call();
        self.answer(id, &body);
        body
    }

    /// Nothing has come that was not read, and the stream is at its end.
    #[track_caller]
    pub(crate) fn assert_end(&mut self) {
        assert_eq!(self.receive(), None);
        assert!(self.buffer.is_empty(), "{:?}", self.buffer);
    }

    /// Waits until something comes, and leaves it there.
    #[track_caller]
    pub(crate) fn wait(&mut self) {
        if self.buffer.is_empty() {
            assert!(self.peer.read_more(&mut self.buffer), "the stream ended");
        }
    }

    /// Nothing comes for a while.
    #[track_caller]
    pub(crate) fn assert_silent(&mut self, limit: Duration) {
        let timeout = |limit| match &self.peer {
            Peer::Tcp(stream) => stream.set_read_timeout(limit),
            Peer::Unix(stream) => stream.set_read_timeout(limit),
        };
        timeout(Some(limit)).unwrap();
        let mut byte = [0];
        let read = match &self.peer {
            Peer::Tcp(stream) => std::io::Read::read(&mut &*stream, &mut byte),
            Peer::Unix(stream) => std::io::Read::read(&mut &*stream, &mut byte),
        };
        timeout(Some(PATIENCE)).unwrap();
        let error = read.expect_err("something came");
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        assert!(self.buffer.is_empty(), "{:?}", self.buffer);
    }
}
