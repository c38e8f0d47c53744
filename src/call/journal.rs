//! Log lines on their way to whoever writes them down.
//!
//! The threads that move bytes must never wait for a log handler, so a line goes into a bounded
//! ring and another thread takes it out. When the ring is full the newest line is dropped and
//! counted; so it is when there have been too many: a peer that does wrong all the time would keep
//! the interpreter busy with what is said about it.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Lines that wait at most.
const CAPACITY: usize = 512;
/// How many lines of a level may come at once after a silence, and how long it takes until there may
/// be one more.
const BURST: u32 = 256;
const PERIOD: Duration = Duration::from_millis(10);
/// Lines that are taken out at a time: the interpreter is let go between.
const TAKEN: usize = 16;

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
    /// When all lines of a level so far would be paid for, at one each period.
    paid: [Option<Instant>; 3],
}

impl Ring {
    /// Whether a line may be written now; one that may is paid for.
    fn affords(&mut self, level: Level, now: Instant) -> bool {
        let [info, warning, error] = &mut self.paid;
        let until = match level {
            Level::Info => info,
            Level::Warning => warning,
            Level::Error => error,
        };
        let paid = until.map_or(now, |paid| paid.max(now));
        let affords = paid + PERIOD <= now + PERIOD * BURST;
        if affords {
            *until = Some(paid + PERIOD);
        }
        affords
    }
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

    /// Puts a line into the ring; it is dropped and counted where there are too many.
    pub fn write(&self, level: Level, text: String) {
        self.attach(level, text, None);
    }

    /// The same with something handed along.
    pub fn attach(&self, level: Level, text: String, attached: Option<Box<dyn Any + Send>>) {
        let mut ring = self.ring();
        if ring.closed || ring.records.len() >= CAPACITY || !ring.affords(level, Instant::now()) {
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

    /// Waits for lines and takes some of them; `None` when closed and empty.
    pub fn take(&self) -> Option<Vec<Record>> {
        let mut ring = self
            .filled
            .wait_while(self.ring(), |ring| ring.records.is_empty() && !ring.closed)
            .unwrap_or_else(PoisonError::into_inner);
        if ring.records.is_empty() {
            None
        } else {
            let taken = ring.records.len().min(TAKEN);
            Some(ring.records.drain(..taken).collect())
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
    use std::iter;

    #[test]
    fn a_full_ring_drops_the_newest_and_counts_it() {
        let journal = Journal::default();
        for number in 0..CAPACITY / 2 {
            journal.write(Level::Info, number.to_string());
            journal.write(Level::Warning, "more".to_owned());
        }
        assert_eq!(journal.dropped(), 0);
        for _ in 0..3 {
            journal.write(Level::Error, "too much".to_owned());
        }
        assert_eq!(journal.dropped(), 3);
        journal.close();
        let taken: Vec<_> = iter::from_fn(|| journal.take()).flatten().collect();
        assert_eq!(taken.len(), CAPACITY);
        assert_eq!(taken[0].text, "0");
    }

    #[test]
    fn after_a_burst_there_is_a_line_each_period() {
        let (mut ring, start) = (Ring::default(), Instant::now());
        let afforded = |ring: &mut Ring, now, tries| {
            (0..tries)
                .filter(|_| ring.affords(Level::Warning, now))
                .count()
        };
        let burst = BURST as usize;
        assert_eq!(afforded(&mut ring, start, burst + 9), burst);
        assert_eq!(afforded(&mut ring, start + PERIOD / 2, 9), 0);
        assert!(ring.affords(Level::Error, start), "each level has its own");
        assert_eq!(afforded(&mut ring, start + PERIOD * 3, 9), 3);
        let later = start + PERIOD * BURST * 9;
        assert_eq!(afforded(&mut ring, later, burst + 9), burst);
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
