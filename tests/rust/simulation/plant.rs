//! Faults that a network cannot have: a frame that is lost or repeated while all others arrive. The
//! checks must find them.

use std::mem;

use _core::wire::baidu_std::BaiduStdCodec;
use _core::wire::{Codec as _, Reads, limits};
use bytes::{Bytes, BytesMut};

/// What is done to the third frame of each connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plant {
    /// An answer is lost.
    LoseAnswer,
    /// An answer comes twice.
    RepeatAnswer,
    /// A call is lost.
    LoseCall,
    /// A call comes twice.
    RepeatCall,
}

/// The one who does it, to frames of baidu_std that go one way.
#[derive(Debug)]
pub(crate) struct Sower {
    plant: Plant,
    /// Calls go this way.
    calls: bool,
    buffer: BytesMut,
    frames: usize,
}

impl Sower {
    pub(crate) fn new(plant: Plant, calls: bool) -> Self {
        Self {
            plant,
            calls,
            buffer: BytesMut::new(),
            frames: 0,
        }
    }

    /// The frames that a piece has completed, as they go on.
    pub(crate) fn sow(&mut self, piece: &[u8]) -> Bytes {
        self.buffer.extend_from_slice(piece);
        let reads = if self.calls {
            Reads::Calls
        } else {
            Reads::Replies
        };
        let codec = BaiduStdCodec::new(limits::MESSAGE_BYTES);
        let mut sown = BytesMut::new();
        loop {
            let mut rest = self.buffer.clone();
            if codec.decode(reads, &mut rest).unwrap().is_none() {
                return sown.freeze();
            }
            let frame = self.buffer.len() - rest.len();
            let frame = mem::replace(&mut self.buffer, rest).split_to(frame);
            self.frames += 1;
            let times = match (self.plant, self.frames) {
                (Plant::LoseAnswer, 3) if !self.calls => 0,
                (Plant::RepeatAnswer, 3) if !self.calls => 2,
                (Plant::LoseCall, 3) if self.calls => 0,
                (Plant::RepeatCall, 3) if self.calls => 2,
                _ => 1,
            };
            for _ in 0..times {
                sown.extend_from_slice(&frame);
            }
        }
    }
}
