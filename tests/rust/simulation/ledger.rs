//! What happened to each call, at both ends, and whether that can be.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};

use _core::call::Ended;
use _core::metrics::Counters;
use _core::status::Code;
use tokio::time::Instant;

use super::stage::count;

/// One call.
#[derive(Debug, Default, Clone)]
pub(crate) struct Entry {
    /// What is sent, and to come back.
    pub(crate) body: Vec<u8>,
    /// How its caller was told that it ended: the code, `None` where it was answered well.
    told: Vec<Option<Code>>,
    /// Another body came back.
    garbled: bool,
    /// It was told as a mistake of its caller's, or as one that was not sent.
    mistaken: bool,
    /// How often a handler ran it. A refusal is no run.
    ran: u32,
    /// How often a handler was told that its answer counts.
    answered: u32,
    /// Its caller gave it up.
    pub(crate) cancelled: bool,
}

/// All calls of a game, by number, and what else is to be told of it.
#[derive(Debug)]
pub(crate) struct Ledger {
    entries: Mutex<Vec<Entry>>,
    notes: Mutex<Vec<String>>,
    start: Instant,
}

impl Ledger {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            entries: Mutex::default(),
            notes: Mutex::default(),
            start: Instant::now(),
        })
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap()
    }

    pub(crate) fn note(&self, what: impl FnOnce() -> String) {
        let at = self.start.elapsed().as_secs_f64();
        let mut notes = self.notes.lock().unwrap();
        notes.push(format!("{at:10.6} {}", what()));
    }

    /// All that was noted.
    pub(crate) fn story(&self) -> String {
        let notes = self.notes.lock().unwrap();
        notes.iter().fold(String::new(), |mut story, note| {
            writeln!(story, "{note}").unwrap();
            story
        })
    }

    /// Opens an account for a call that is about to be made.
    pub(crate) fn open(&self, body: Vec<u8>) {
        self.entries().push(Entry {
            body,
            ..Entry::default()
        });
    }

    pub(crate) fn cancel(&self, number: usize) {
        self.note(|| format!("call {number} is cancelled"));
        self.entries()[number].cancelled = true;
    }

    pub(crate) fn ran(&self, number: usize) {
        self.note(|| format!("call {number} runs"));
        self.entries()[number].ran += 1;
    }

    pub(crate) fn answered(&self, number: usize, counts: bool) {
        self.note(|| format!("call {number} is answered, which counts: {counts}"));
        self.entries()[number].answered += u32::from(counts);
    }

    pub(crate) fn told(&self, number: usize, end: Ended) {
        self.note(|| match &end {
            Ended::Answered(_) => format!("call {number} has ended well"),
            end => format!("call {number} has ended: {end:?}"),
        });
        let mut entries = self.entries();
        let entry = &mut entries[number];
        entry.told.push(match end {
            Ended::Answered(answer) => {
                entry.garbled |= answer.body.bytes != entry.body;
                None
            }
            Ended::Failed(status) | Ended::Denied(status, _) => Some(status.code),
            Ended::Unsent(status) => {
                entry.mistaken = true;
                Some(status.code)
            }
            Ended::Invalid(_) => {
                entry.mistaken = true;
                Some(Code::InvalidArgument)
            }
        });
    }

    /// Calls that have not ended.
    pub(crate) fn open_calls(&self) -> Vec<usize> {
        let entries = self.entries();
        let open = entries.iter().enumerate();
        open.filter(|(_, entry)| entry.told.is_empty())
            .map(|(number, _)| number)
            .collect()
    }

    /// Whether the call has ended well.
    pub(crate) fn is_well(&self, number: usize) -> bool {
        self.entries()[number].told == [None]
    }

    /// What cannot be, after all has ended. With `calm`, nothing was lost on the way.
    pub(crate) fn faults(&self, calm: bool) -> Vec<String> {
        let mut faults = Vec::new();
        for (number, entry) in self.entries().iter().enumerate() {
            faults.extend(
                entry
                    .fault(calm)
                    .map(|fault| format!("call {number} {fault}: {:?}", entry.told)),
            );
        }
        faults
    }

    /// How many calls their callers gave up, be it that their time was up.
    pub(crate) fn given_up(&self) -> u64 {
        let entries = self.entries();
        let given_up = [Some(Code::Cancelled), Some(Code::DeadlineExceeded)];
        let is = |entry: &&Entry| entry.told.iter().any(|told| given_up.contains(told));
        entries.iter().filter(is).count() as u64
    }
}

impl Entry {
    fn fault(&self, calm: bool) -> Option<&'static str> {
        let given_up = [Some(Code::Cancelled), Some(Code::DeadlineExceeded)];
        let expected = [
            Code::Unavailable,
            Code::DeadlineExceeded,
            Code::Cancelled,
            Code::ResourceExhausted,
            // What handlers do that fail, or give up.
            Code::Internal,
            Code::Aborted,
        ];
        Some(match self.told.as_slice() {
            [] => "never ended",
            [_, _, ..] => "ended more than once",
            _ if self.ran > 1 => "was run more than once",
            _ if self.answered > 1 => "was answered more than once",
            _ if self.garbled => "was answered with something else",
            _ if self.mistaken => "ended in a way that is none for callers",
            [None] if self.ran != 1 => "was answered and not run",
            [None] if self.answered != 1 => "was answered by nobody",
            [Some(code)] if !expected.contains(code) => "failed for no reason that there is",
            [told @ Some(_)] if calm && self.answered == 1 && !given_up.contains(told) => {
                "was answered, and its caller told otherwise"
            }
            _ => return None,
        })
    }
}

/// What must not be left of one end.
pub(crate) fn left(name: &str, counters: &Counters, given_up: u64) -> Vec<String> {
    let mut faults = Vec::new();
    for (counter, most) in [
        ("connections", 0),
        ("calls_in_flight", 0),
        ("panics_total", 0),
        ("late_replies_total", given_up),
    ] {
        let found = count(counters, counter);
        if found > most {
            faults.push(format!("{name}: {counter} is {found}, not {most}"));
        }
    }
    let mut all = counters.snapshot().into_iter();
    let rejected = all.find(|(name, _)| *name == "rejected_total").unwrap().1;
    let text = format!("{rejected:?}");
    if text.contains("unexpected_reply") {
        faults.push(format!("{name}: answers came out of turn"));
    }
    faults
}
