//! Workers between two lanes: how one finds the next, and what it does while there is none.

use std::future::poll_fn;
use std::mem;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::call::{Before, Lane, Processor, Woken, WorkerId};
use crate::net::cork;
use crate::net::driver::Driver;
use crate::net::staff::Member;

/// How long a worker takes lanes before it writes what it has held back, should they never end: at
/// least, and at most.
const TOUR: RangeInclusive<Duration> = Duration::from_micros(125)..=Duration::from_millis(4);
/// How many times as long as what lay between it and the last one a tour is. Without this, reading
/// would run ahead of the handlers until calls are refused that there was time for.
const TOUR_BREAKS: u32 = 4;
/// The same, without what the frames took that were read.
const TOUR_OVERHEADS: u32 = 32;
/// What one frame takes.
const FRAME: Duration = Duration::from_nanos(1500);
/// How long it stays at one lane, should that never end.
const VISIT: Duration = Duration::from_micros(250);
/// How long an event loop takes lanes before it turns to other things.
const HOST_TOUR: Duration = Duration::from_millis(1);
/// Events after which it looks at the clock for either.
const LOOK_EVENTS: u64 = 16;
/// How long an event takes, on average, from which on it does so after each.
const SLOW: Duration = Duration::from_micros(10);

/// The workers of one processor.
#[derive(Debug)]
pub struct Crew {
    processor: Arc<Processor>,
    driver: Arc<Driver>,
    last: AtomicU64,
}

impl Crew {
    /// Workers of `processor`, which drive when there is nothing to run.
    #[must_use]
    pub fn new(processor: Arc<Processor>, driver: Arc<Driver>) -> Self {
        driver.watch(&processor);
        let last = AtomicU64::new(0);
        Self {
            processor,
            driver,
            last,
        }
    }

    /// The processor.
    #[must_use]
    pub fn processor(&self) -> &Arc<Processor> {
        &self.processor
    }

    /// An event loop comes, on its own thread: whether it has read what there was to read, which is
    /// not so where another thread drives.
    pub fn host_comes(&self) -> bool {
        self.processor.host_comes();
        self.driver.glance()
    }

    /// Runs what there is for it to run, up to a bound in time.
    pub fn host_runs(&self, mut visit: impl FnMut(&Arc<Lane>)) {
        let began = Instant::now();
        while began.elapsed() < HOST_TOUR
            && let Some(lane) = self.processor.take_as_host()
        {
            cork::holding_back(|| visit(&lane));
        }
    }

    /// It writes what it has held back, and goes.
    pub fn host_goes(&self) {
        self.driver.flush();
        self.processor.host_goes();
    }

    /// One more of them: the calling thread.
    #[must_use]
    pub fn worker(&self) -> Worker<'_> {
        cork::hold_back(true);
        Worker {
            crew: self,
            id: self.last.fetch_add(1, Ordering::Relaxed),
            began: None,
            tour: *TOUR.start(),
            look_at: 0,
            step: LOOK_EVENTS,
            owes: false,
            member: self.driver.staff.join(),
        }
    }
}

/// One worker, for the thread that it was made on.
#[derive(Debug)]
pub struct Worker<'a> {
    crew: &'a Crew,
    id: WorkerId,
    /// When its tour began, as far as it has looked at the clock, and how many events workers had
    /// left then.
    began: Option<(Instant, u64)>,
    /// How long it may last.
    tour: Duration,
    /// How many events workers have left when it does so next.
    look_at: u64,
    /// After how many it does so.
    step: u64,
    /// It has visited lanes that come now and then, and may not have written what they have to say.
    owes: bool,
    member: Option<Member<'a>>,
}

impl Worker<'_> {
    /// Takes a lane if there is one, without waiting. A worker that has not waited for long, or has
    /// written much, is given none.
    pub fn take(&mut self) -> Option<Arc<Lane>> {
        if cork::wrote_enough() {
            return None;
        }
        let left = self.crew.processor.left();
        if left >= self.look_at {
            let (began, first) = *self.began.get_or_insert_with(|| (Instant::now(), left));
            let (took, events) = (began.elapsed(), left - first);
            if events > 0 {
                self.step = step(took, events);
            }
            self.look_at = left + self.step;
            if took > self.tour {
                return None;
            }
        }
        let (lane, before) = self.crew.processor.take_turn()?;
        match before {
            Before::Nothing => self.owes = true,
            // What was said to those who come now and then need not wait for those who always have
            // more.
            Before::More if mem::take(&mut self.owes) => self.crew.driver.flush(),
            Before::More => {}
        }
        Some(lane)
    }

    /// Runs what `lane` has to run, for one visit.
    pub fn visit(&self, lane: &Arc<Lane>) {
        let (mut events, mut begun) = (0, None);
        let _visit = self.member.as_ref().map(Member::visit);
        lane.run_until(|| {
            events += 1;
            cork::wrote_enough()
                || events % self.step == 0
                    && begun.get_or_insert_with(Instant::now).elapsed() > VISIT
        });
    }

    /// Writes what was held back and waits until there may be lanes; false when nothing more will
    /// come.
    ///
    /// It takes none: what it would hold while it waits for the interpreter, others can run.
    pub fn wait(&mut self) -> bool {
        let Crew {
            processor, driver, ..
        } = self.crew;
        cork::begin_turn();
        self.owes = false;
        (self.began, self.look_at) = (None, processor.left() + self.step);
        if processor.is_filled() {
            let (began, frames) = (Instant::now(), driver.frames());
            driver.flush();
            if processor.lead(self.id) {
                driver.look();
                self.tour = tour(began.elapsed(), driver.frames() - frames);
            }
            return true;
        }
        driver.flush();
        let woken = if processor.lead(self.id) {
            driver
                .drive(poll_fn(|context| processor.poll_filled(context)))
                .unwrap_or_else(|| {
                    processor.stand_aside(self.id);
                    processor.rest()
                })
        } else {
            processor.rest()
        };
        driver.stir();
        woken == Woken::Filled
    }
}

/// How long the tour after a break of such a length may be, in which so many frames were read.
///
/// Few frames in a break are a reason for a longer one: the system calls for a connection take as
/// long for one frame as for many. Many are none.
fn tour(took: Duration, frames: u64) -> Duration {
    let frames = FRAME.saturating_mul(u32::try_from(frames).unwrap_or(u32::MAX));
    let overhead = took.saturating_sub(frames);
    (took * TOUR_BREAKS)
        .max(overhead * TOUR_OVERHEADS)
        .clamp(*TOUR.start(), *TOUR.end())
}

/// After how many events the clock is looked at where `events` have taken so long.
fn step(took: Duration, events: u64) -> u64 {
    let fast = SLOW.saturating_mul(u32::try_from(events).unwrap_or(u32::MAX));
    if took > fast { 1 } else { LOOK_EVENTS }
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        self.crew.processor.stand_aside(self.id);
        self.crew.driver.flush();
        cork::hold_back(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tours_are_long_where_breaks_are_and_longer_where_these_bring_little() {
        let micros = Duration::from_micros;
        for (took, frames, expected) in [
            (micros(3), 0, micros(125)),
            (micros(100), 64, micros(400)),
            (micros(100), 10, micros(2720)),
            (micros(200), 200, micros(800)),
            (micros(100), 0, micros(3200)),
            (Duration::from_millis(5), 1024, Duration::from_millis(4)),
            (
                Duration::from_secs(3600),
                u64::MAX,
                Duration::from_millis(4),
            ),
        ] {
            assert_eq!(tour(took, frames), expected, "{took:?} {frames}");
        }
    }

    #[test]
    fn the_clock_is_looked_at_after_each_slow_event() {
        let millis = Duration::from_millis;
        for (took, events, expected) in [
            (Duration::ZERO, 16, 16),
            (millis(1), 100, 16),
            (millis(1), 99, 1),
            (millis(1), u64::MAX, 16),
        ] {
            assert_eq!(step(took, events), expected, "{took:?} {events}");
        }
    }
}
