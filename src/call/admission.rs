//! Who may come in: how many calls a server runs at once, in all and of each method.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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
    /// Connections whose calls wait, of which each has a turn before it has another one.
    pub lanes: usize,
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

/// The right of one call to be here, given at a door. It is kept by the call's ticket, which tells
/// that door what becomes of the call: [`Permit::begin`] once at most, [`Permit::leave`] once.
#[derive(Debug)]
#[must_use = "a permit that nobody gives back is a call that never ends"]
pub struct Permit {
    /// None for calls of a wire on which none can be refused: they only wait.
    place: Option<Place>,
    since: Since,
    /// The call waits for an event loop.
    again: AtomicBool,
}

impl Permit {
    /// A worker comes to the call, which had waited for so long.
    pub(super) fn taken_up(&self, door: &Admission, waited: Duration) {
        door.pace.observe(waited, self.since);
    }

    /// The call waits again: for an event loop.
    pub(super) fn wait_again(&self, door: &Admission) {
        self.again.store(true, Ordering::Relaxed);
        door.again.fetch_add(1, Ordering::Relaxed);
        door.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// The call waits no longer: it begins, or has ended before that.
    pub(super) fn begin(&self, door: &Admission) {
        // Few wait twice, and to look takes no atomic step.
        if self.again.load(Ordering::Relaxed) && self.again.swap(false, Ordering::Relaxed) {
            door.again.fetch_sub(1, Ordering::Relaxed);
        }
        door.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// The call has ended, and nobody runs it.
    pub(super) fn leave(&self, door: &Admission) {
        if let Some(place) = self.place {
            door.leave(place);
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
    /// Those of them that wait for an event loop.
    again: AtomicUsize,
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
            again: AtomicUsize::new(0),
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
    pub fn admit(&self) -> Permit {
        self.wait_at(None, 0)
    }

    /// Lets a call in whose caller waits for so long, if the wire says so. `held` says what its
    /// connection has already, and is asked where that matters.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED`, and which bound it is.
    pub fn enter(
        &self,
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
        self.queue_up(waiting, held, patience)?;
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

    /// Whether a call may wait where so many do, beside what its connection has.
    fn queue_up(
        &self,
        waiting: usize,
        held: Held,
        patience: Option<Duration>,
    ) -> Result<(), Status> {
        let most = self.limits.queued;
        if has_its_share(held.waiting, waiting, most) {
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
        match self
            .pace
            .too_long(self.ahead(waiting, held), held.waiting, longest)
        {
            None => Ok(()),
            Some(wait) => {
                let wait = wait.as_millis();
                let text = format!("{waiting} calls wait already, for some {wait} ms");
                Err(full(text))
            }
        }
    }

    /// How many calls are run before one that comes now.
    fn ahead(&self, waiting: usize, held: Held) -> usize {
        let again = self.again.load(Ordering::Relaxed);
        // Later calls on shorter lines have their turns before the last one of a long line does.
        let turns = held.waiting.saturating_mul(held.lanes);
        // A coroutine that awaits comes back to its loop when all others have had their turn: by
        // then, half as much time again must be left as where a call begins and ends at once.
        waiting.max(turns.saturating_add(again)) + again / 2
    }

    fn wait_at(&self, place: Option<Place>, own: usize) -> Permit {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Permit {
            since: self.pace.begin(own),
            place,
            again: AtomicBool::new(false),
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
mod overload;
#[cfg(test)]
mod tests;
