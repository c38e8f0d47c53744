//! Which failures may be tried again, and how long to wait before that.

use std::time::Duration;

use crate::status::Status;
use crate::wire::baidu_std::errno;

/// Whether a server says by this that it did not run the call: it stops, or has too much to do.
/// What a handler said is never taken for that: its codes go by other numbers, and so do these two
/// when a handler of ours chooses them.
#[must_use]
pub fn is_refused(status: &Status) -> bool {
    matches!(status.native, Some(errno::ELOGOFF | errno::ELIMIT))
}

/// Exponential waits with jitter: each is between half of a step and the whole of it, and the
/// steps double from `min` to `max`.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    step: Duration,
}

impl Backoff {
    /// Waits that grow from `min` to `max`.
    #[must_use]
    pub fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max: max.max(min),
            step: min,
        }
    }

    /// The next wait; `jitter` is a random number from 0 to 1.
    pub fn next(&mut self, jitter: f64) -> Duration {
        let wait = self.step.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
        self.step = self.step.saturating_mul(2).min(self.max);
        wait
    }

    /// Starts again from the shortest wait.
    pub fn reset(&mut self) {
        self.step = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_jitter_stays_in_the_upper_half() {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        let longest: Vec<u128> = (0..7).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(longest, [50, 100, 200, 400, 800, 1000, 1000]);
        backoff.reset();
        assert_eq!(backoff.next(0.0).as_millis(), 25);
        assert_eq!(backoff.next(-3.0).as_millis(), 50);
    }
}
