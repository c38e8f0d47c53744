//! How long to wait before trying again.

use std::time::Duration;

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
