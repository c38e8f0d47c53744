//! More calls than can be run, in a time of their own: what becomes of them.

use std::collections::VecDeque;

use super::*;

const PLACE: Place = Place {
    service: 0,
    method: 0,
};
/// Microseconds that a call is run for.
const COST: u64 = 200;
/// Calls of a connection that are run before others have their turn: slow ones, and fast ones.
const TURNS: [usize; 2] = [2, 64];

/// A connection's calls that wait: when each came, and its permit.
type Line = VecDeque<(u64, Permit)>;

/// Who calls, over a connection of its own.
#[derive(Clone, Copy)]
struct Caller {
    /// Microseconds from one call to the next.
    every: u64,
    /// Microseconds that it waits for an answer; it goes away without one.
    patience: u64,
}

/// What became of the calls of one caller.
#[derive(Debug, Default, Clone, Copy)]
struct Fate {
    answered: u64,
    /// Answered when the caller had gone.
    late: u64,
    /// The caller went while the call waited.
    expired: u64,
    refused: u64,
    longest: u64,
}

/// One worker behind a door.
struct House {
    now: u64,
    door: Admission,
    callers: Vec<Caller>,
    lines: Vec<Line>,
    fates: Vec<Fate>,
    next: Vec<u64>,
    /// What is read together was sent within so long.
    read_every: u64,
    read_at: u64,
}

impl House {
    fn new(callers: &[Caller], read_every: u64) -> Self {
        let limits = Limits {
            concurrency: Some(10_000),
            queued: 4096,
            queue_time: Duration::from_secs(10),
        };
        Self {
            now: 0,
            door: Admission::new(limits, Vec::new()),
            callers: callers.to_vec(),
            lines: callers.iter().map(|_| Line::new()).collect(),
            fates: vec![Fate::default(); callers.len()],
            next: callers.iter().map(|caller| caller.every).collect(),
            read_every,
            read_at: 0,
        }
    }

    /// Lets in what has come since the last time.
    fn read(&mut self) {
        if self.now < self.read_at {
            return;
        }
        self.read_at = self.now + self.read_every;
        let lanes = self.lines.iter().filter(|line| !line.is_empty()).count();
        for place in 0..self.callers.len() {
            let caller = self.callers[place];
            while self.next[place] <= self.now {
                self.next[place] += caller.every;
                let waiting = self.lines[place].len();
                let held = || Held {
                    waiting,
                    lanes,
                    open: waiting,
                };
                let patience = Some(Duration::from_micros(caller.patience));
                match self.door.enter(PLACE, patience, held) {
                    Ok(permit) => self.lines[place].push_back((self.now, permit)),
                    Err(_) => self.fates[place].refused += 1,
                }
            }
        }
    }

    /// Ends the calls whose callers have gone.
    fn expire(&mut self) {
        for (place, line) in self.lines.iter_mut().enumerate() {
            let patience = self.callers[place].patience;
            while line
                .front()
                .is_some_and(|(came, _)| came + patience <= self.now)
            {
                if let Some((_, permit)) = line.pop_front() {
                    permit.begin(&self.door);
                    permit.leave(&self.door);
                    self.fates[place].expired += 1;
                }
            }
        }
    }

    fn serve(&mut self, place: usize) -> bool {
        self.read();
        self.expire();
        let Some((came, permit)) = self.lines[place].pop_front() else {
            return false;
        };
        permit.begin(&self.door);
        permit.taken_up(&self.door, Duration::from_micros(self.now - came));
        self.now += COST;
        permit.leave(&self.door);
        let took = self.now - came;
        let fate = &mut self.fates[place];
        if took <= self.callers[place].patience {
            fate.answered += 1;
            fate.longest = fate.longest.max(took);
        } else {
            fate.late += 1;
        }
        true
    }

    /// Runs for so many microseconds, the connections in turn, `turn` calls of each at a time.
    fn run(mut self, time: u64, turn: usize) -> Vec<Fate> {
        while self.now < time {
            let before = self.now;
            for place in 0..self.lines.len() {
                for _ in 0..turn {
                    if !self.serve(place) {
                        break;
                    }
                }
            }
            if self.now == before {
                self.now += 10;
            }
        }
        self.fates
    }
}

/// Four times what can be done, over so many connections.
fn four_times(connections: u64, patience: u64) -> Vec<Caller> {
    let every = COST * connections / 4;
    vec![Caller { every, patience }; usize::try_from(connections).unwrap()]
}

#[test]
fn four_times_the_calls_leave_it_as_useful_as_it_was() {
    const TIME: u64 = 4_000_000;
    for (connections, turn) in [1, 8, 64]
        .into_iter()
        .flat_map(|all| TURNS.map(|turn| (all, turn)))
    {
        for patience in [20_070, 100_070, 1_000_070] {
            for read_every in [0, 1_000, 5_000] {
                let house = House::new(&four_times(connections, patience), read_every);
                let fates = house.run(TIME, turn);
                let sum = |of: fn(&Fate) -> u64| fates.iter().map(of).sum::<u64>();
                let what = format!(
                    "{connections} connections by {turn}, {patience} us, read every {read_every}: {} {} {} {}",
                    sum(|fate| fate.answered),
                    sum(|fate| fate.late),
                    sum(|fate| fate.expired),
                    sum(|fate| fate.refused),
                );
                assert!(sum(|fate| fate.answered) * COST > TIME * 95 / 100, "{what}");
                assert!(sum(|fate| fate.late) * COST < TIME / 100, "{what}");
                // Where turns are long some wait for longer than was thought.
                let part = if turn == TURNS[0] { 50 } else { 20 };
                assert!(sum(|fate| fate.expired) < 4 * TIME / COST / part, "{what}");
            }
        }
    }
}

#[test]
fn who_asks_for_little_is_served_beside_who_asks_for_much() {
    let greedy = Caller {
        every: COST / 4,
        patience: 10_000_000,
    };
    let modest = Caller {
        every: 10_000,
        patience: 100_000,
    };
    let callers = [greedy, modest, modest, modest, modest];
    let fates = TURNS.map(|turn| House::new(&callers, 1_000).run(10_000_000, turn));
    for fate in fates.iter().flat_map(|fates| &fates[1..]) {
        assert_eq!(
            (fate.refused, fate.late, fate.expired),
            (0, 0, 0),
            "{fate:?}"
        );
        assert!(fate.answered > 990 && fate.longest < 20_000, "{fate:?}");
    }
}

#[test]
fn a_crowd_that_can_be_served_is() {
    // Half of what can be done, but all of it at once, ten times a second.
    let caller = Caller {
        every: 2 * COST,
        patience: 120_000,
    };
    let fates = House::new(&[caller], 100_000).run(10_000_000, TURNS[0]);
    let fate = fates[0];
    assert_eq!(
        (fate.refused, fate.late, fate.expired),
        (0, 0, 0),
        "{fate:?}"
    );
}

#[test]
fn coroutines_that_await_end_in_time() {
    const TIME: u64 = 4_000_000;
    const PATIENCE: u64 = 100_070;
    let house = House::new(&[], 0);
    let mut fate = Fate::default();
    // Those that a loop comes to, in this order: when each came, and whether it has begun.
    let mut ready = VecDeque::new();
    let (mut now, mut next) = (0, 0);
    while now < TIME {
        while next <= now {
            next += COST / 4;
            let patience = Some(Duration::from_micros(PATIENCE));
            if let Ok(permit) = house.door.enter(PLACE, patience, Held::default) {
                permit.begin(&house.door);
                permit.wait_again(&house.door);
                ready.push_back((now, permit, false));
            }
        }
        match ready.pop_front() {
            None => now = next,
            Some((came, permit, true)) => {
                permit.leave(&house.door);
                let ended = if now - came <= PATIENCE {
                    &mut fate.answered
                } else {
                    &mut fate.late
                };
                *ended += 1;
            }
            Some((came, permit, false)) => {
                permit.begin(&house.door);
                permit.taken_up(&house.door, Duration::from_micros(now - came));
                now += COST;
                ready.push_back((came, permit, true));
            }
        }
    }
    assert!(fate.answered * COST > TIME * 95 / 100, "{fate:?}");
    assert!(fate.late * COST < TIME / 100, "{fate:?}");
}
