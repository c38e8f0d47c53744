//! When more workers come, tick by tick.

use super::*;

/// A workforce of which the kernel says the same each time it is asked, and how often that was.
#[derive(Default)]
struct Seen {
    fills_cpus: bool,
    asleep: bool,
    asked: std::cell::Cell<u32>,
}

impl Seen {
    fn asleep() -> Self {
        Self {
            asleep: true,
            ..Self::default()
        }
    }

    fn count(&self) {
        self.asked.set(self.asked.get() + 1);
    }
}

impl Workforce for Seen {
    fn fills_cpus(&self) -> bool {
        self.count();
        self.fills_cpus
    }

    fn is_asleep(&self) -> bool {
        self.count();
        self.asleep
    }
}

/// Ticks once a millisecond, while lanes wait.
struct Ticks {
    crowding: Crowding,
    now: Instant,
    progress: Progress,
}

impl Ticks {
    /// One worker is at work.
    fn new() -> Self {
        let mut ticks = Self {
            crowding: Crowding::default(),
            now: Instant::now(),
            progress: Progress::default(),
        };
        ticks.progress.at_work = 1;
        assert_eq!(ticks.after(0, &Seen::default()), Come::Nobody);
        ticks
    }

    /// The next one, `left` events later.
    fn after(&mut self, left: u64, seen: &Seen) -> Come {
        self.tick(left, true, seen)
    }

    /// The same where none waits.
    fn idle_after(&mut self, left: u64, seen: &Seen) -> Come {
        self.tick(left, false, seen)
    }

    fn tick(&mut self, left: u64, lanes_wait: bool, seen: &Seen) -> Come {
        self.now += Duration::from_millis(1);
        self.progress.left += left;
        let Self {
            crowding,
            now,
            progress,
        } = self;
        crowding.tick(*now, *progress, lanes_wait, seen).1
    }

    /// Crowded from now on.
    fn crowd(&mut self) {
        let asleep = Seen::asleep();
        while !self.crowding.is_crowded() {
            self.after(1, &asleep);
        }
    }

    /// How many ticks the crowd stays if nothing speaks for it.
    fn until_calm(&mut self) -> u32 {
        let mut ticks = 0;
        while self.crowding.is_crowded() {
            self.idle_after(1, &Seen::default());
            ticks += 1;
            assert!(ticks < 10_000);
        }
        ticks
    }
}

#[test]
fn who_sleeps_for_less_than_a_tick_in_each_call_gets_help_and_then_a_crowd() {
    let (mut ticks, asleep) = (Ticks::new(), Seen::asleep());
    assert_eq!(ticks.after(1, &asleep), Come::Nobody, "between two waits?");
    assert_eq!(ticks.after(1, &asleep), Come::One);
    assert_eq!(ticks.after(1, &asleep), Come::Each);
    assert!(ticks.crowding.is_crowded());
}

#[test]
fn who_runs_at_every_other_tick_gets_none() {
    let mut ticks = Ticks::new();
    for _ in 0..100 {
        assert_eq!(ticks.after(1, &Seen::asleep()), Come::Nobody);
        assert_eq!(ticks.after(1, &Seen::default()), Come::Nobody);
    }
}

#[test]
fn nobody_comes_where_no_lane_waits() {
    let (mut ticks, asleep) = (Ticks::new(), Seen::asleep());
    for left in (0..2).cycle().take(100) {
        assert_eq!(ticks.idle_after(left, &asleep), Come::Nobody);
    }
    assert_eq!(asleep.asked.get(), 0);
}

#[test]
fn of_many_events_a_tick_nobody_asks() {
    let (mut ticks, asleep) = (Ticks::new(), Seen::asleep());
    ticks.progress.at_work = 20;
    for _ in 0..100 {
        assert_eq!(ticks.after(20 * MANY_EVENTS, &asleep), Come::Nobody);
    }
    assert_eq!(asleep.asked.get(), 0);
    ticks.after(20 * MANY_EVENTS - 1, &asleep);
    assert_eq!(ticks.after(MANY_EVENTS, &asleep), Come::One);
}

#[test]
fn the_cpus_need_not_be_free_for_who_sleeps() {
    let mut ticks = Ticks::new();
    let seen = Seen {
        fills_cpus: true,
        asleep: true,
        ..Seen::default()
    };
    ticks.after(1, &seen);
    assert_eq!(ticks.after(1, &seen), Come::One);
}

#[test]
fn a_crowd_is_asked_after_now_and_then_only() {
    let (mut ticks, asleep) = (Ticks::new(), Seen::asleep());
    ticks.crowd();
    for _ in 0..200 {
        assert_eq!(ticks.after(1, &asleep), Come::Each);
    }
    assert!((1..20).contains(&asleep.asked.get()), "{:?}", asleep.asked);
}

#[test]
fn a_crowd_that_is_missed_at_once_comes_back_for_twice_as_long() {
    let mut ticks = Ticks::new();
    let mut stays = Vec::new();
    for _ in 0..7 {
        ticks.crowd();
        stays.push(ticks.until_calm());
        let asleep = Seen::asleep();
        ticks.after(1, &asleep);
        assert_eq!(ticks.after(1, &asleep), Come::Each, "not one by one");
    }
    assert_eq!(stays, [100, 200, 400, 800, 1600, 3200, 3200]);
}

#[test]
fn a_crowd_that_is_not_missed_is_forgotten() {
    let mut ticks = Ticks::new();
    for _ in 0..3 {
        ticks.crowd();
        assert_eq!(ticks.until_calm(), 100);
        for _ in 0..100 {
            ticks.after(1, &Seen::default());
        }
    }
}
