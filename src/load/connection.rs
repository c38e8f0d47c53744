//! One connection and its calls.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};

use crate::load::buffer::{Filled, ReadBuffer};
use crate::load::plan::Expects;
use crate::load::stream::Stream;
use crate::load::wire::{Cut, Wire};

/// Frames up to this are copied together and written at once; longer ones are not copied.
const SMALL: usize = 16 * 1024;
/// As much is copied together for one write.
const BATCH: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: Stream,
    input: ReadBuffer,
    slots: Vec<Slot>,
    /// Slots whose calls have not been written whole, in order.
    to_send: VecDeque<usize>,
    /// How much of the first of them has been written.
    sent: usize,
    /// The first answer has been compared byte by byte.
    compared: bool,
}

#[derive(Debug, Default, Clone)]
struct Slot {
    version: u32,
    /// When its call was queued; `None` when no call is under way.
    since: Option<u64>,
}

impl Connection {
    pub(super) fn new(stream: Stream, in_flight: usize) -> Self {
        Self {
            stream,
            input: ReadBuffer::default(),
            slots: vec![Slot::default(); in_flight],
            to_send: VecDeque::with_capacity(in_flight),
            sent: 0,
            compared: false,
        }
    }

    /// Queues the first call of every slot.
    pub(super) fn begin(&mut self, now: u64) {
        for slot in 0..self.slots.len() {
            self.call(slot, now);
        }
    }

    /// Calls that are under way.
    pub(super) fn open(&self) -> usize {
        self.slots.iter().filter(|s| s.since.is_some()).count()
    }

    /// Reads once.
    pub(super) fn fill(&mut self) -> io::Result<Filled> {
        self.input.fill(&mut self.stream)
    }

    /// Takes all answers that are there, and tells `each` when its call was queued, and how it
    /// failed, if it did. While that returns true, the next call is queued.
    pub(super) fn answers<W: Wire>(
        &mut self,
        body: &[u8],
        expects: Expects,
        now: u64,
        mut each: impl FnMut(u64, Option<String>) -> bool,
    ) -> Result<(), String> {
        loop {
            let (slot, length, since, failure) = match W::answer(self.input.bytes())? {
                Cut::Part { length } => {
                    self.input.expect(length);
                    return Ok(());
                }
                Cut::Whole {
                    id,
                    outcome,
                    length,
                } => {
                    let slot = W::slot(id);
                    let since = ended::<W>(&mut self.slots, slot, id)?;
                    let failure = match (expects, outcome) {
                        (Expects::Anything, outcome) => outcome.err(),
                        (Expects::Echo, Err(text)) => return Err(format!("a call failed: {text}")),
                        (Expects::Echo, Ok(came)) => {
                            check_echo(came, body, self.compared)?;
                            None
                        }
                    };
                    (slot, length, since, failure)
                }
            };
            self.compared = true;
            self.input.consume(length);
            if each(since, failure) {
                self.call(slot, now);
            }
        }
    }

    /// Writes what is queued, as far as the socket takes it.
    pub(super) fn flush<W: Wire>(&mut self, wire: &W, frame: &mut Frame<'_>) -> io::Result<()> {
        self.stream.flush()?;
        while !self.to_send.is_empty() {
            let result = if frame.length <= SMALL {
                self.write_many(wire, frame)
            } else {
                self.write_one(wire, frame)
            };
            match result {
                Ok(count) => self.written(count, frame.length),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write_many<W: Wire>(&mut self, wire: &W, frame: &mut Frame<'_>) -> io::Result<usize> {
        let most = BATCH / frame.length + 1;
        let mut length = 0;
        for &slot in self.to_send.iter().take(most) {
            let copy = &mut frame.batch[length..][..frame.length];
            wire.put_id(copy, W::id(slot, self.slots[slot].version));
            length += frame.length;
        }
        self.stream.write(&frame.batch[self.sent..length])
    }

    fn write_one<W: Wire>(&mut self, wire: &W, frame: &mut Frame<'_>) -> io::Result<usize> {
        let slot = self.to_send[0];
        wire.put_id(&mut frame.head, W::id(slot, self.slots[slot].version));
        let (head, body) = match self.sent.checked_sub(frame.head.len()) {
            Some(of_body) => (&[][..], &frame.body[of_body..]),
            None => (&frame.head[self.sent..], frame.body),
        };
        self.stream
            .write_vectored(&[IoSlice::new(head), IoSlice::new(body)])
    }

    fn written(&mut self, count: usize, length: usize) {
        self.sent += count;
        while self.sent >= length {
            self.sent -= length;
            self.to_send.pop_front();
        }
    }

    fn call(&mut self, slot: usize, now: u64) {
        let place = &mut self.slots[slot];
        place.version = place.version.wrapping_add(1);
        place.since = Some(now);
        self.to_send.push_back(slot);
    }
}

/// The frame of a call, encoded but for its id.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    head: Vec<u8>,
    body: &'a [u8],
    length: usize,
    /// Whole frames side by side; only the ids in them change.
    batch: Vec<u8>,
}

impl<'a> Frame<'a> {
    pub(super) fn new<W: Wire>(wire: &W, body: &'a [u8]) -> Self {
        let head = wire.head().to_vec();
        let whole = [&head, body].concat();
        let length = whole.len();
        let batch = if length <= SMALL {
            whole.repeat(BATCH / length + 1)
        } else {
            Vec::new()
        };
        Self {
            head,
            body,
            length,
            batch,
        }
    }
}

/// Compares the first answer byte by byte, and of the others the lengths.
fn check_echo(came: &[u8], body: &[u8], compared: bool) -> Result<(), String> {
    if came.len() != body.len() {
        let (there, wanted) = (came.len(), body.len());
        return Err(format!("an answer of {there} bytes, not {wanted}"));
    }
    if !compared && came != body {
        return Err("an answer with other bytes than the call".to_owned());
    }
    Ok(())
}

fn ended<W: Wire>(slots: &mut [Slot], slot: usize, id: u64) -> Result<u64, String> {
    slots
        .get_mut(slot)
        .filter(|place| W::id(slot, place.version) == id)
        .and_then(|place| place.since.take())
        .ok_or_else(|| format!("an answer with the id {id}, which no call has"))
}
