//! Log lines on their way to whoever writes them down.
//!
//! The threads that move bytes must never wait for a log handler, so a line goes into a bounded
//! ring and another thread takes it out. When the ring is full the newest line is dropped and
//! counted.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Lines that wait at most.
const CAPACITY: usize = 1024;

/// How serious a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Life as usual.
    Info,
    /// A peer did something wrong.
    Warning,
    /// A handler failed.
    Error,
}

/// One line.
#[derive(Debug)]
pub struct Record {
    /// How serious it is.
    pub level: Level,
    /// What happened, then `key=value` pairs; a peer's bytes only escaped.
    pub text: String,
    /// What the border hands along to itself: the exception that a line speaks of.
    pub attached: Option<Box<dyn Any + Send>>,
}

#[derive(Debug, Default)]
struct Ring {
    records: VecDeque<Record>,
    dropped: u64,
    closed: bool,
}

/// The bounded ring between those who have something to say and the one who writes it down.
#[derive(Debug, Default)]
pub struct Journal {
    ring: Mutex<Ring>,
    filled: Condvar,
}

impl Journal {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a line into the ring; a full ring drops and counts it.
    pub fn write(&self, level: Level, text: String) {
        self.attach(level, text, None);
    }

    /// The same with something handed along.
    pub fn attach(&self, level: Level, text: String, attached: Option<Box<dyn Any + Send>>) {
        let mut ring = self.ring();
        if ring.closed || ring.records.len() >= CAPACITY {
            ring.dropped += 1;
            return;
        }
        ring.records.push_back(Record {
            level,
            text,
            attached,
        });
        drop(ring);
        self.filled.notify_one();
    }

    /// Waits for lines and takes all there are; `None` when closed and empty.
    pub fn take(&self) -> Option<Vec<Record>> {
        let mut ring = self
            .filled
            .wait_while(self.ring(), |ring| ring.records.is_empty() && !ring.closed)
            .unwrap_or_else(PoisonError::into_inner);
        if ring.records.is_empty() {
            None
        } else {
            Some(ring.records.drain(..).collect())
        }
    }

    /// How many lines were dropped.
    pub fn dropped(&self) -> u64 {
        self.ring().dropped
    }

    /// Takes no more lines; those that are there can still be taken.
    pub fn close(&self) {
        self.ring().closed = true;
        self.filled.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_drops_the_newest_and_counts_it() {
        let journal = Journal::default();
        for number in 0..CAPACITY + 3 {
            journal.write(Level::Info, number.to_string());
        }
        assert_eq!(journal.dropped(), 3);
        let records = journal.take().unwrap();
        assert_eq!(records.len(), CAPACITY);
        assert_eq!(records[0].text, "0");
    }

    #[test]
    fn what_was_written_before_the_close_can_be_taken() {
        let journal = Journal::default();
        journal.write(Level::Error, "last".to_owned());
        journal.close();
        assert_eq!(journal.take().unwrap().len(), 1);
        assert!(journal.take().is_none());
    }
}
