//! How many workers come: whether those at work get on, and whether others would get on better.
//!
//! They make no progress where they wait for something, and hardly any where they do so in each of
//! many calls: then the kernel says that no one of them runs. Who makes none for want of a CPU
//! does not stand still: one more would want it, too, and the interpreter's lock besides. Only
//! where that goes on for long does another one come.
//!
//! Whether a crowd is still needed shows when it is gone. So it ends when nothing has spoken for it
//! for a while, and comes back at once, for twice as long, where that was wrong.

use std::mem;
use std::time::{Duration, Instant};

/// How long a processor stays crowded after it was last seen that workers stood still, at first.
const CALM: Duration = Duration::from_millis(100);
/// The same at most, where they always do again as soon as the crowd is gone.
const MOST_CALM: Duration = Duration::from_millis(3200);
/// What "as soon as" means.
const RELAPSE: Duration = Duration::from_millis(25);
/// How long after that it is not asked again whether they lack a CPU, where it is crowded already.
const SURE: Duration = Duration::from_millis(50);
/// Ticks without progress after which one more comes although the CPUs are taken.
pub(super) const PATIENT_TICKS: u32 = 10;
/// Events of one worker between two ticks from which on nobody asks whether it sleeps in between.
const MANY_EVENTS: u64 = 16;
/// Ticks in a row at which none ran that visits a lane: at a single one it may be between two waits.
const ASLEEP_TICKS: u32 = 2;

/// What the kernel knows of those who work.
pub trait Workforce {
    /// Whether as many workers run, or would if they had a CPU, as there are CPUs.
    fn fills_cpus(&self) -> bool;
    /// Whether some visit a lane, and none of these runs or would if it had a CPU.
    fn is_asleep(&self) -> bool;
}

/// How far workers have come.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    /// Workers that visit a lane.
    pub(super) at_work: u64,
    /// Events that were left so far.
    pub(super) left: u64,
}

/// Who is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Come {
    Nobody,
    /// One more, who may lead.
    One,
    /// One for each lane that waits.
    Each,
}

/// Whether a worker is woken for each lane, and what speaks for that.
#[derive(Debug)]
pub(super) struct Crowding {
    crowded: bool,
    /// How long the next crowd stays after it was last needed.
    calm: Duration,
    /// When workers last stood still.
    stood: Option<Instant>,
    /// When the last crowd ended.
    ended: Option<Instant>,
    /// How it stood at the last tick.
    seen: Progress,
    /// For how many ticks nothing has moved while the CPUs were taken.
    starved: u32,
    /// At how many in a row nobody ran.
    asleep: u32,
}

impl Progress {
    /// Events that were left since.
    fn left_since(self, earlier: Self) -> u64 {
        self.left.saturating_sub(earlier.left)
    }

    /// Of the workers that were at work at `earlier`, how many are still at the same event.
    fn still_at_work_since(self, earlier: Self) -> u64 {
        earlier.at_work.saturating_sub(self.left_since(earlier))
    }
}

impl Default for Crowding {
    fn default() -> Self {
        Self {
            crowded: false,
            calm: CALM,
            stood: None,
            ended: None,
            seen: Progress::default(),
            starved: 0,
            asleep: 0,
        }
    }
}

impl Crowding {
    /// Whether a worker is woken for each lane.
    pub(super) fn is_crowded(&self) -> bool {
        self.crowded
    }

    /// Looks how far workers have come since the last tick, while `lanes_wait` or none does. Says
    /// whether there was progress, or nobody is at work, and who is to come.
    pub(super) fn tick(
        &mut self,
        now: Instant,
        progress: Progress,
        lanes_wait: bool,
        workforce: &impl Workforce,
    ) -> (bool, Come) {
        let earlier = mem::replace(&mut self.seen, progress);
        // While nobody visits a lane, the leader moves bytes, which may take a while and never stops.
        let moves = earlier != progress || progress.at_work == 0;
        let creeps = moves && progress.left_since(earlier) < MANY_EVENTS * progress.at_work;
        // Each of several that are held up would hold up all others.
        let held_up = self.crowded && progress.still_at_work_since(earlier) > 1;
        let come = self.look(
            now,
            lanes_wait && !moves,
            lanes_wait && creeps,
            held_up,
            workforce,
        );
        (moves, come)
    }

    fn look(
        &mut self,
        now: Instant,
        stands: bool,
        creeps: bool,
        held_up: bool,
        workforce: &impl Workforce,
    ) -> Come {
        let within = |since: Option<Instant>, time| {
            since.is_some_and(|since| now.saturating_duration_since(since) < time)
        };
        let lately = within(self.stood, self.calm);
        let sure = self.crowded && within(self.stood, SURE);
        if !stands {
            self.starved = 0;
        }
        if !creeps {
            self.asleep = 0;
        } else if !sure {
            self.asleep = if workforce.is_asleep() {
                self.asleep + 1
            } else {
                0
            };
        }
        let sleeps = self.asleep >= ASLEEP_TICKS;
        if (stands || sleeps || held_up) && !sure {
            if !sleeps && workforce.fills_cpus() {
                self.calm_down(now, lately);
                self.starved += u32::from(stands);
                if self.starved < PATIENT_TICKS {
                    return Come::Nobody;
                }
                self.starved = 0;
                return Come::One;
            }
            self.stood = Some(now);
        }
        if !stands && !sleeps {
            self.calm_down(now, lately || held_up);
            return Come::Nobody;
        }
        let relapses = !self.crowded && within(self.ended, RELAPSE);
        if relapses {
            self.calm = MOST_CALM.min(self.calm * 2);
        } else if !self.crowded && !lately {
            self.calm = CALM;
        }
        self.crowded = lately || held_up || relapses;
        if self.crowded { Come::Each } else { Come::One }
    }

    /// Ends the crowd unless it `stays`.
    fn calm_down(&mut self, now: Instant, stays: bool) {
        if self.crowded && !stays {
            self.crowded = false;
            self.ended = Some(now);
        }
    }
}

#[cfg(test)]
mod tests;
