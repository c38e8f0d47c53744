//! How long a call that comes now would wait, as those show that came before it.
//!
//! When more comes than can be run, first come, first served is the worst order: every call waits
//! as long as its caller does, is begun with nothing left of its time, and ends for nobody. So one
//! that would wait for most of its time is refused when it comes, while its caller can still do
//! something about it, and those that are let in are answered in time. How long the wait is follows
//! from how many wait and how quickly they are taken up, whatever handlers do and however many
//! workers there are.
//!
//! Connections take turns, so that who has little waiting does not wait behind who has much. How
//! long the former wait is seen from their own kind alone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Calls of one connection that are taken up at its next turn, which is soon.
pub(super) const SOON: usize = 64;
/// Calls that were taken up which count as much as all that was known before.
const WEIGHT: u64 = 64;
/// Where the last one waited for less than this part of what the next one may, nothing is crowded.
const CROWDED_PART: u64 = 4;
/// How much of that is forgotten, one part of so many, with each call that is taken up and had many
/// of its connection before it. So, where all others are refused, one is let in now and then, and
/// shows how it is by then.
const FORGOTTEN_PART: u64 = 64;

/// How quickly calls that wait are taken up.
///
/// Threads that look at it at the same moment may see the one number old and the other one new,
/// which does no harm to an estimate.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Calls that were taken up so far.
    taken: AtomicU64,
    /// Nanoseconds from one to the next.
    step: AtomicU64,
    /// Nanoseconds that the last one had waited which came with few of its connection before it.
    waited: AtomicU64,
}

/// When a call began to wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Since {
    taken: u64,
    /// It came with few of its connection before it.
    soon: bool,
}

impl Pace {
    /// A call begins to wait, and `own` of its connection before it.
    pub(super) fn begin(&self, own: usize) -> Since {
        Since {
            taken: self.taken.load(Ordering::Relaxed),
            soon: own < SOON,
        }
    }

    /// A call is taken up after so long.
    pub(super) fn observe(&self, waited: Duration, since: Since) {
        let waited = nanos(waited);
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        let last = if since.soon {
            waited
        } else {
            let last = self.waited.load(Ordering::Relaxed);
            last - last / FORGOTTEN_PART
        };
        self.waited.store(last, Ordering::Relaxed);
        let steps = taken.saturating_sub(since.taken) + 1;
        let known = self.step.load(Ordering::Relaxed);
        // Many steps say more than few, in which one late wake-up may be all there is.
        let sum = known.saturating_mul(WEIGHT).saturating_add(waited);
        self.step.store(sum / (WEIGHT + steps), Ordering::Relaxed);
    }

    /// Nobody waits: how long others did says nothing about the next one.
    pub(super) fn clear(&self) {
        if self.waited.load(Ordering::Relaxed) != 0 {
            self.waited.store(0, Ordering::Relaxed);
        }
    }

    /// How long a call would wait while so many do, `own` of its connection, if it would for
    /// longer than it may.
    pub(super) fn too_long(&self, waiting: usize, own: usize, most: Duration) -> Option<Duration> {
        let step = self.step.load(Ordering::Relaxed);
        let wait = Duration::from_nanos(step.saturating_mul(waiting as u64));
        if wait <= most {
            return None;
        }
        let waited = self.waited.load(Ordering::Relaxed);
        let crowded = own >= SOON || waited > nanos(most) / CROWDED_PART;
        crowded.then_some(wait)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// As many calls at once, of which one is taken up each `step` milliseconds.
    fn taken_up(pace: &Pace, calls: u64, own: usize, step: u64) {
        let since = pace.begin(own);
        for number in 1..=calls {
            pace.observe(ms(number * step), since);
        }
    }

    /// A pace at which a call is taken up each millisecond, and waits for a tenth of a second.
    fn steady() -> Pace {
        let pace = Pace::default();
        for _ in 0..10 {
            taken_up(&pace, 100, 0, 1);
        }
        pace
    }

    #[test]
    fn the_wait_is_known_from_those_that_waited() {
        let wait = steady().too_long(200, 0, ms(150)).unwrap();
        assert!(wait > ms(190) && wait <= ms(200), "{wait:?}");
    }

    #[test]
    fn who_may_wait_as_long_is_let_in() {
        assert_eq!(steady().too_long(200, 0, ms(250)), None);
        assert_eq!(steady().too_long(0, 0, ms(1)), None);
    }

    #[test]
    fn of_which_nothing_is_known_yet_everybody_is_let_in() {
        assert_eq!(Pace::default().too_long(1_000_000, 100, ms(1)), None);
    }

    #[test]
    fn a_crowd_after_a_pause_is_not_measured_by_the_last_one() {
        let pace = steady();
        pace.clear();
        assert_eq!(pace.too_long(200, 0, ms(150)), None);
        taken_up(&pace, 120, 0, 1);
        assert!(pace.too_long(200, 0, ms(150)).is_some());
    }

    #[test]
    fn who_has_little_waiting_is_not_refused_for_a_neighbour_who_has_much() {
        let pace = Pace::default();
        taken_up(&pace, 1000, 1000, 1);
        taken_up(&pace, 10, 0, 1);
        assert!(pace.too_long(1000, 1000, ms(100)).is_some());
        assert_eq!(pace.too_long(1000, 0, ms(100)), None);
    }

    #[test]
    fn who_is_refused_for_what_was_is_let_in_when_only_others_are_taken_up() {
        let pace = steady();
        let refused = |pace: &Pace| pace.too_long(200, 0, ms(150)).is_some();
        taken_up(&pace, 50, SOON, 1);
        assert!(refused(&pace));
        taken_up(&pace, 100, SOON, 1);
        assert!(!refused(&pace));
    }

    #[test]
    fn one_late_wake_up_refuses_nobody() {
        let pace = Pace::default();
        for _ in 0..100 {
            let since = pace.begin(0);
            pace.observe(Duration::from_micros(100), since);
        }
        let since = pace.begin(0);
        pace.observe(ms(50), since);
        assert_eq!(pace.too_long(40, 0, ms(50)), None);
    }

    #[test]
    fn it_learns_a_new_pace_within_one_line() {
        let pace = steady();
        taken_up(&pace, 100, 0, 10);
        let wait = pace.too_long(100, 0, ms(800)).unwrap();
        assert!(wait > ms(950), "{wait:?}");
    }

    #[test]
    fn no_number_is_too_large() {
        let pace = Pace::default();
        for _ in 0..2 {
            let since = pace.begin(0);
            pace.observe(Duration::MAX, since);
        }
        assert_eq!(pace.too_long(usize::MAX, usize::MAX, Duration::MAX), None);
    }
}
