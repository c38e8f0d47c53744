//! One connection: calls in, answers out.

use std::io::{self, Write};

use mio::net::TcpStream;

use _core::load::buffer::{Filled, ReadBuffer};

/// Answers above this are written from where the call was read, without a copy.
const SMALL: usize = 16 * 1024;
/// While so much is unwritten, nothing more is read.
const UNWRITTEN: usize = 4 << 20;

/// Makes the answer to the first call in the bytes, in place.
pub(crate) type Answer = fn(&mut [u8]) -> Result<Cut, &'static str>;

#[derive(Debug)]
pub(crate) enum Cut {
    /// A call of `length` bytes whose answer now is what begins at `answer`.
    Whole { length: usize, answer: usize },
    /// Not there yet; the frame's length where it is known, else the header's.
    Part { length: usize },
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Epoll says when it goes on.
    Waits,
    /// There may be more to read.
    More,
    Ended,
}

#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    input: ReadBuffer,
    output: Vec<u8>,
    written: usize,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            input: ReadBuffer::default(),
            output: Vec::new(),
            written: 0,
        }
    }

    /// Writes what waits, reads once, answers.
    pub(crate) fn turn(&mut self, answer: Answer) -> io::Result<Turn> {
        self.flush()?;
        if self.unwritten() > UNWRITTEN {
            return Ok(Turn::Waits);
        }
        let filled = self.input.fill(&self.stream)?;
        if filled == Filled::Ended {
            return Ok(Turn::Ended);
        }
        self.answer_all(answer)?;
        self.flush()?;
        Ok(match filled {
            Filled::More => Turn::More,
            _ => Turn::Waits,
        })
    }

    fn answer_all(&mut self, answer: Answer) -> io::Result<()> {
        loop {
            let bytes = self.input.bytes_mut();
            match answer(bytes).map_err(io::Error::other)? {
                Cut::Whole { length, answer } if length - answer <= SMALL => {
                    self.output.extend_from_slice(&bytes[answer..length]);
                    self.input.consume(length);
                }
                Cut::Whole { length, answer } => {
                    self.flush()?;
                    self.write_in_place(answer, length)?;
                    self.input.consume(length);
                }
                Cut::Part { length } => {
                    self.input.expect(length);
                    return Ok(());
                }
            }
        }
    }

    fn write_in_place(&mut self, start: usize, end: usize) -> io::Result<()> {
        let mut rest = &self.input.bytes()[start..end];
        if self.unwritten() == 0 {
            let count = accepted(self.stream.write(rest))?;
            rest = &rest[count..];
        }
        self.output.extend_from_slice(rest);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.unwritten() > 0 {
            match accepted(self.stream.write(&self.output[self.written..]))? {
                0 => return Ok(()),
                count => self.written += count,
            }
        }
        self.output.clear();
        self.written = 0;
        Ok(())
    }

    fn unwritten(&self) -> usize {
        self.output.len() - self.written
    }
}

/// A socket that is full takes nothing.
fn accepted(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}
