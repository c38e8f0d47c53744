//! Who may come in: how many calls a server runs at once, in all and of each method.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::call::Place;
use crate::call::pace::{Pace, SOON, Since};
use crate::status::{Code, Status};

/// Bounds of a server's work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Calls that have come in and not ended, in all.
    pub concurrency: Option<usize>,
    /// Calls that wait for a worker.
    pub queued: usize,
    /// How long a call may wait for a worker.
    pub queue_time: Duration,
}

/// How many times as much as is left of a bound one connection may have. So nobody has all: a
/// connection alone has eight ninths at most, and who has nothing is let in to the last place.
const SHARE: usize = 8;

/// Whether a connection with `own` of the `taken` places that `most` may be has its share.
fn has_its_share(own: usize, taken: usize, most: usize) -> bool {
    own >= most.saturating_sub(taken).saturating_mul(SHARE)
}

/// What a connection has of a server's room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Calls of it that wait for a worker.
    pub waiting: usize,
    /// Calls of it that have not ended, those that wait included.
    pub open: usize,
}

/// A number of calls and its bound.
#[derive(Debug)]
struct Room {
    most: usize,
    taken: AtomicUsize,
}

impl Room {
    fn new(most: usize) -> Self {
        let taken = AtomicUsize::new(0);
        Self { most, taken }
    }

    /// Takes a place, or says how many there are.
    fn enter(&self) -> Result<(), usize> {
        if self.taken.fetch_add(1, Ordering::Relaxed) < self.most {
            return Ok(());
        }
        self.leave();
        Err(self.most)
    }

    fn leave(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }

    fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Whether who holds all that is taken would be refused.
    fn is_scarce(&self) -> bool {
        let taken = self.taken();
        has_its_share(taken, taken, self.most)
    }
}

/// The right of one call to be here. It is kept by the call's ticket, which says what becomes of
/// the call: [`Permit::begin`] once at most, [`Permit::leave`] once.
#[derive(Debug)]
#[must_use = "a permit that nobody gives back is a call that never ends"]
pub struct Permit {
    door: Arc<Admission>,
    /// None for calls of a wire on which none can be refused: they only wait.
    place: Option<Place>,
    since: Since,
}

impl Permit {
    /// A worker comes to the call, which had waited for so long.
    pub(super) fn taken_up(&self, waited: Duration) {
        self.door.pace.observe(waited, self.since);
    }

    /// The call waits again, for something else than a worker.
    pub(super) fn wait(&self) {
        self.door.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// The call waits no longer: it begins, or has ended before that.
    pub(super) fn begin(&self) {
        self.door.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// The call has ended, and nobody runs it.
    pub(super) fn leave(&self) {
        if let Some(place) = self.place {
            self.door.leave(place);
        }
    }
}

/// The door of one server.
#[derive(Debug)]
pub struct Admission {
    limits: Limits,
    server: Option<Room>,
    /// By service and method, where a method has a bound of its own.
    methods: Vec<Vec<Option<Room>>>,
    /// Calls that have not begun.
    waiting: AtomicUsize,
    pace: Pace,
}

impl Admission {
    /// A door with `limits`, and with the bounds of single methods by service and method.
    #[must_use]
    pub fn new(limits: Limits, methods: Vec<Vec<Option<usize>>>) -> Self {
        let room = |most: Option<usize>| most.map(Room::new);
        Self {
            server: room(limits.concurrency),
            limits,
            methods: methods
                .into_iter()
                .map(|service| service.into_iter().map(room).collect())
                .collect(),
            waiting: AtomicUsize::new(0),
            pace: Pace::default(),
        }
    }

    /// The bounds.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How many calls wait for a worker.
    #[must_use]
    pub fn waiting_calls(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn method(&self, place: Place) -> Option<&Room> {
        self.methods.get(place.service)?.get(place.method)?.as_ref()
    }

    /// Lets a call in that cannot be refused.
    pub fn admit(self: &Arc<Self>) -> Permit {
        self.wait_at(None, 0)
    }

    /// Lets a call in whose caller waits for so long, if the wire says so. `held` says what its
    /// connection has already, and is asked where that matters.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED`, and which bound it is.
    pub fn enter(
        self: &Arc<Self>,
        place: Place,
        patience: Option<Duration>,
        held: impl FnOnce() -> Held,
    ) -> Result<Permit, Status> {
        let waiting = self.waiting_calls();
        let scarce = has_its_share(waiting, waiting, self.limits.queued)
            || self.server.as_ref().is_some_and(Room::is_scarce);
        let held = if scarce || waiting >= SOON {
            held()
        } else {
            Held::default()
        };
        self.queue_up(waiting, held.waiting, patience)?;
        let runs = |what: &str, most: usize| {
            full(format!(
                "{what} runs {most} calls at once, its max_concurrency"
            ))
        };
        if let Some(server) = &self.server {
            if scarce && has_its_share(held.open, server.taken(), server.most) {
                return Err(runs("the server", server.most));
            }
            server.enter().map_err(|most| runs("the server", most))?;
        }
        if let Some(method) = self.method(place)
            && let Err(most) = method.enter()
        {
            if let Some(server) = &self.server {
                server.leave();
            }
            return Err(runs("the method", most));
        }
        Ok(self.wait_at(Some(place), held.waiting))
    }

    /// Whether a call may wait where so many do, `own` of its connection.
    fn queue_up(
        &self,
        waiting: usize,
        own: usize,
        patience: Option<Duration>,
    ) -> Result<(), Status> {
        let most = self.limits.queued;
        if has_its_share(own, waiting, most) {
            let text = format!("{waiting} calls wait already, and max_queued_calls is {most}");
            return Err(full(text));
        }
        if waiting == 0 {
            self.pace.clear();
            return Ok(());
        }
        // To be run, and to be answered, takes time as well.
        let longest = self.limits.queue_time;
        let longest = patience.map_or(longest, |patience| longest.min(patience / 2));
        match self.pace.too_long(waiting, own, longest) {
            None => Ok(()),
            Some(wait) => {
                let wait = wait.as_millis();
                let text = format!("{waiting} calls wait already, for some {wait} ms");
                Err(full(text))
            }
        }
    }

    fn wait_at(self: &Arc<Self>, place: Option<Place>, own: usize) -> Permit {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Permit {
            since: self.pace.begin(own),
            door: Arc::clone(self),
            place,
        }
    }

    fn leave(&self, place: Place) {
        let rooms = [self.server.as_ref(), self.method(place)];
        for room in rooms.into_iter().flatten() {
            room.leave();
        }
    }
}

fn full(text: String) -> Status {
    Status::new(Code::ResourceExhausted, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(service: usize, method: usize) -> Place {
        Place { service, method }
    }

    fn door(concurrency: Option<usize>, methods: Vec<Vec<Option<usize>>>) -> Arc<Admission> {
        let limits = Limits {
            concurrency,
            queued: 3,
            queue_time: Duration::from_secs(1),
        };
        Arc::new(Admission::new(limits, methods))
    }

    fn refused(door: &Arc<Admission>, place: Place) -> String {
        let status = door.enter(place, None, Held::default).unwrap_err();
        assert_eq!(status.code, Code::ResourceExhausted);
        status.text
    }

    #[test]
    fn a_call_keeps_its_place_until_it_leaves() {
        let door = door(Some(2), Vec::new());
        let first = door.enter(at(0, 0), None, Held::default).unwrap();
        let second = door.enter(at(0, 1), None, Held::default).unwrap();
        assert!(refused(&door, at(0, 0)).contains("the server runs 2"));
        first.leave();
        let third = door.enter(at(0, 0), None, Held::default).unwrap();
        assert!(door.enter(at(0, 0), None, Held::default).is_err());
        for permit in [second, third] {
            permit.begin();
            permit.leave();
        }
        door.enter(at(0, 0), None, Held::default).unwrap().leave();
    }

    #[test]
    fn a_method_has_a_bound_of_its_own_and_takes_nothing_when_it_refuses() {
        let door = door(Some(2), vec![vec![], vec![None, Some(1)]]);
        let slow = door.enter(at(1, 1), None, Held::default).unwrap();
        assert!(refused(&door, at(1, 1)).contains("the method runs 1"));
        let other = door.enter(at(1, 0), None, Held::default).unwrap();
        slow.leave();
        other.leave();
        door.enter(at(1, 1), None, Held::default).unwrap().leave();
    }

    #[test]
    fn calls_wait_until_they_begin_and_those_that_cannot_be_refused_are_counted_too() {
        let door = door(None, Vec::new());
        let permits = [
            door.admit(),
            door.admit(),
            door.enter(at(0, 0), None, Held::default).unwrap(),
        ];
        assert_eq!(door.waiting_calls(), 3);
        assert!(refused(&door, at(0, 0)).contains("3 calls wait already"));
        let more = door.admit();
        for permit in permits {
            permit.begin();
        }
        assert_eq!(door.waiting_calls(), 1);
        more.begin();
        assert_eq!(door.waiting_calls(), 0);
    }

    /// A door at which 100 calls wait, of which each takes 10 ms.
    fn crowded() -> (Arc<Admission>, Vec<Permit>) {
        let limits = Limits {
            concurrency: None,
            queued: 1000,
            queue_time: Duration::from_millis(700),
        };
        let door = Arc::new(Admission::new(limits, Vec::new()));
        for _ in 0..10 {
            let permits: Vec<_> = (0..100).map(|_| door.admit()).collect();
            for (permit, waited) in permits.iter().zip(1..) {
                permit.begin();
                permit.taken_up(Duration::from_millis(10 * waited));
            }
        }
        let permits = (0..100).map(|_| door.admit()).collect();
        (door, permits)
    }

    fn much() -> Held {
        Held {
            waiting: 100,
            open: 100,
        }
    }

    #[test]
    fn a_call_that_would_wait_for_half_of_its_time_is_refused_at_once() {
        let (door, _permits) = crowded();
        let patience = |ms| Some(Duration::from_millis(ms));
        let refused = door.enter(at(0, 0), patience(1000), much).unwrap_err();
        assert_eq!(refused.code, Code::ResourceExhausted);
        let text = &refused.text;
        assert!(
            text.starts_with("100 calls wait already, for some 9"),
            "{text}"
        );
        // Nobody may wait for longer than a call may at all.
        assert!(door.enter(at(0, 0), None, much).is_err());
        assert!(door.enter(at(0, 0), patience(10_000), much).is_err());
    }

    #[test]
    fn whoever_finds_nobody_waiting_is_let_in() {
        let (door, permits) = crowded();
        for permit in permits {
            permit.begin();
        }
        let patience = Some(Duration::from_millis(1));
        let first = door.enter(at(0, 0), patience, Held::default).unwrap();
        // How long others waited says nothing any more.
        let second = door.enter(at(0, 0), patience, Held::default).unwrap();
        for permit in [first, second] {
            permit.begin();
            permit.leave();
        }
    }

    /// How many calls of one connection come in, while others have as many.
    fn taken_by_one(door: &Arc<Admission>, others: usize, begin: bool) -> usize {
        let mut own = 0;
        for _ in 0..others {
            let permit = door.enter(at(0, 0), None, Held::default).unwrap();
            if begin {
                permit.begin();
            }
        }
        while let Ok(permit) = door.enter(at(0, 0), None, || Held {
            waiting: own,
            open: own,
        }) {
            own += 1;
            if begin {
                permit.begin();
            }
        }
        own
    }

    #[test]
    fn nobody_takes_the_last_place_from_those_who_have_none() {
        let limits = |concurrency, queued| Limits {
            concurrency,
            queued,
            queue_time: Duration::from_secs(1),
        };
        let waiting = |others| {
            let door = Arc::new(Admission::new(limits(None, 900), Vec::new()));
            let own = taken_by_one(&door, others, false);
            // Whoever comes now finds a place.
            door.enter(at(0, 0), None, Held::default).unwrap().begin();
            own
        };
        assert_eq!(waiting(0), 800);
        assert_eq!(waiting(450), 400);
        let door = Arc::new(Admission::new(limits(Some(900), 10), Vec::new()));
        assert_eq!(taken_by_one(&door, 0, true), 800);
        door.enter(at(0, 0), None, Held::default).unwrap().begin();
    }
}
