//! Counting, and the line that is printed.

use std::fs;

use hdrhistogram::Histogram;
use serde_json::json;

use crate::options::{Options, Protocol};

const LONGEST_NANOS: u64 = 3_600_000_000_000;

#[derive(Debug)]
pub(crate) struct Measure {
    latencies: Histogram<u64>,
    /// When it began; once it has ended, how long it took.
    nanos: u64,
    /// The same for this thread's time on a CPU.
    cpu_nanos: Option<u64>,
}

impl Measure {
    pub(crate) fn begin(now: u64) -> Result<Self, String> {
        let latencies =
            Histogram::new_with_bounds(1, LONGEST_NANOS, 3).map_err(|error| error.to_string())?;
        Ok(Self {
            latencies,
            nanos: now,
            cpu_nanos: cpu_nanos(),
        })
    }

    pub(crate) fn end(&mut self, now: u64) {
        self.nanos = now - self.nanos;
        self.cpu_nanos = cpu_nanos()
            .zip(self.cpu_nanos)
            .map(|(now, then)| now - then);
    }

    /// Counts a call.
    pub(crate) fn call(&mut self, nanos: u64) {
        self.latencies.saturating_record(nanos);
    }

    pub(crate) fn calls(&self) -> u64 {
        self.latencies.len()
    }

    /// The result, as one line of JSON. `answers` are all there were, before and after as well.
    pub(crate) fn line(&self, answers: u64, options: &Options) -> String {
        let seconds = seconds(self.nanos);
        let at = |quantile| micros(self.latencies.value_at_quantile(quantile));
        json!({
            "protocol": match options.protocol {
                Protocol::Indexed => "indexed",
                Protocol::BaiduStd => "baidu_std",
                Protocol::Thrift => "thrift",
            },
            "connections": options.connections,
            "in_flight": options.in_flight,
            "size": options.size,
            "calls": self.calls(),
            "all_calls": answers,
            "seconds": seconds,
            "calls_per_s": self.calls() as f64 / seconds,
            "p50_us": at(0.5),
            "p90_us": at(0.9),
            "p99_us": at(0.99),
            "p99_9_us": at(0.999),
            "max_us": micros(self.latencies.max()),
            "load_cpu_s": self.cpu_nanos.map(self::seconds),
        })
        .to_string()
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
