//! Received bytes of one connection.
//!
//! The memory is kept: once it has grown to the longest frame, reading allocates nothing. Frames
//! are cut off at the front; what is left moves there only when the room at the end is used up.

use std::io::{self, Read};

/// Small on purpose: a thousand connections with one small call each should fit into a cache.
const FIRST: usize = 16 * 1024;
/// So much room is wanted for a read.
const ROOM: usize = 4 * 1024;

/// The buffer.
#[derive(Debug)]
pub struct ReadBuffer {
    memory: Vec<u8>,
    start: usize,
    end: usize,
}

/// What a read brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Filled {
    /// The buffer was filled to its end: there may be more.
    More,
    /// All there was.
    Dry,
    /// The peer has closed.
    Ended,
}

impl Default for ReadBuffer {
    fn default() -> Self {
        Self {
            memory: vec![0; FIRST],
            start: 0,
            end: 0,
        }
    }
}

impl ReadBuffer {
    /// Reads once.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn fill(&mut self, mut stream: impl Read) -> io::Result<Filled> {
        self.make_room();
        let room = &mut self.memory[self.end..];
        match stream.read(room) {
            Ok(0) => Ok(Filled::Ended),
            Ok(count) => {
                // A stream socket that gives less than was asked for is dry: see epoll(7).
                let dry = count < room.len();
                self.end += count;
                Ok(if dry { Filled::Dry } else { Filled::More })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Filled::Dry),
            Err(error) => Err(error),
        }
    }

    /// What was received and not cut off.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    #[allow(dead_code, reason = "the load generator only reads")]
    /// The same, to be written over.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.end]
    }

    /// Cuts `count` bytes off the front.
    pub fn consume(&mut self, count: usize) {
        self.start += count;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Makes sure that a frame of `length` bytes fits, counted from the front.
    pub fn expect(&mut self, length: usize) {
        if self.start + length + ROOM > self.memory.len() {
            self.move_to_front();
            if length + ROOM > self.memory.len() {
                self.memory.resize((length + ROOM).next_power_of_two(), 0);
            }
        }
    }

    fn make_room(&mut self) {
        if self.memory.len() - self.end >= ROOM {
            return;
        }
        self.move_to_front();
        if self.memory.len() - self.end < ROOM {
            self.memory.resize(self.memory.len() * 2, 0);
        }
    }

    fn move_to_front(&mut self) {
        self.memory.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
    }
}
