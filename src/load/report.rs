//! Counting, and what comes of it.

use std::collections::BTreeMap;
use std::fs;

use hdrhistogram::Histogram;

/// Failures are told apart by what is said of them, so many at most; a server may say anything.
const FAILURES: usize = 20;
const OTHERS: &str = "others";
const LONGEST_NANOS: u64 = 3_600_000_000_000;

#[derive(Debug)]
pub(super) struct Measure {
    latencies: Histogram<u64>,
    failures: BTreeMap<String, u64>,
    /// When it began; once it has ended, how long it took.
    nanos: u64,
    /// The same for this thread's time on a CPU.
    cpu_nanos: Option<u64>,
}

impl Measure {
    pub(super) fn begin(now: u64) -> Result<Self, String> {
        let latencies =
            Histogram::new_with_bounds(1, LONGEST_NANOS, 3).map_err(|error| error.to_string())?;
        Ok(Self {
            latencies,
            failures: BTreeMap::new(),
            nanos: now,
            cpu_nanos: cpu_nanos(),
        })
    }

    pub(super) fn end(&mut self, now: u64) {
        self.nanos = now - self.nanos;
        self.cpu_nanos = cpu_nanos()
            .zip(self.cpu_nanos)
            .map(|(now, then)| now - then);
    }

    /// Counts a call, and how it failed, if it did.
    pub(super) fn call(&mut self, nanos: u64, failure: Option<String>) {
        self.latencies.saturating_record(nanos);
        if let Some(text) = failure {
            self.fail(text);
        }
    }

    fn fail(&mut self, text: String) {
        let known = self.failures.len() < FAILURES || self.failures.contains_key(&text);
        let key = if known { text } else { OTHERS.to_owned() };
        *self.failures.entry(key).or_default() += 1;
    }

    /// Calls that failed.
    pub(super) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    pub(super) fn calls(&self) -> u64 {
        self.latencies.len()
    }

    /// What was measured. `answers` are all there were, before and after as well.
    pub(super) fn report(self, answers: u64) -> Report {
        Report {
            latencies: self.latencies,
            failures: self.failures,
            answers,
            seconds: seconds(self.nanos),
            cpu_seconds: self.cpu_nanos.map(seconds),
        }
    }
}

/// What calls took.
#[derive(Debug)]
pub struct Report {
    latencies: Histogram<u64>,
    /// How often calls failed, by what was said.
    pub failures: BTreeMap<String, u64>,
    /// Answers there were, before and after the measurement as well.
    pub answers: u64,
    /// How long it was measured.
    pub seconds: f64,
    /// How long this thread was on a CPU meanwhile, where the kernel tells.
    pub cpu_seconds: Option<f64>,
}

impl Report {
    /// Calls that were measured, those that failed included.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.latencies.len()
    }

    /// Microseconds within which this part of the calls, 0 to 1, had ended.
    #[must_use]
    pub fn micros(&self, quantile: f64) -> f64 {
        micros(self.latencies.value_at_quantile(quantile))
    }

    /// Microseconds of the longest call.
    #[must_use]
    pub fn longest_micros(&self) -> f64 {
        micros(self.latencies.max())
    }

    /// Microseconds of a call on average.
    #[must_use]
    pub fn mean_micros(&self) -> f64 {
        self.latencies.mean() / 1e3
    }
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}

/// Time of this thread on a CPU, where the kernel tells.
fn cpu_nanos() -> Option<u64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok()
}
