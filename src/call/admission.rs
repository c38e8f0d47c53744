//! Who may come in: how many calls a server runs at once, in all and of each method.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::call::Place;
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
}

/// The right of one call to be here. It is kept by the call's ticket, which says what becomes of
/// the call: [`Permit::begin`] once at most, [`Permit::leave`] once.
#[derive(Debug)]
#[must_use = "a permit that nobody gives back is a call that never ends"]
pub struct Permit {
    door: Arc<Admission>,
    /// None for calls of a wire on which none can be refused: they only wait.
    place: Option<Place>,
}

impl Permit {
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
        self.wait_at(None)
    }

    /// Lets a call in.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED`, and which bound it is.
    pub fn enter(self: &Arc<Self>, place: Place) -> Result<Permit, Status> {
        let full = |text: String| Status::new(Code::ResourceExhausted, text);
        let (waiting, most) = (self.waiting_calls(), self.limits.queued);
        if waiting >= most {
            let text = format!("{waiting} calls wait already, and max_queued_calls is {most}");
            return Err(full(text));
        }
        let runs = |what: &str, most: usize| {
            full(format!(
                "{what} runs {most} calls at once, its max_concurrency"
            ))
        };
        if let Some(server) = &self.server {
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
        Ok(self.wait_at(Some(place)))
    }

    fn wait_at(self: &Arc<Self>, place: Option<Place>) -> Permit {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let door = Arc::clone(self);
        Permit { door, place }
    }

    fn leave(&self, place: Place) {
        let rooms = [self.server.as_ref(), self.method(place)];
        for room in rooms.into_iter().flatten() {
            room.leave();
        }
    }
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
        let status = door.enter(place).unwrap_err();
        assert_eq!(status.code, Code::ResourceExhausted);
        status.text
    }

    #[test]
    fn a_call_keeps_its_place_until_it_leaves() {
        let door = door(Some(2), Vec::new());
        let first = door.enter(at(0, 0)).unwrap();
        let second = door.enter(at(0, 1)).unwrap();
        assert!(refused(&door, at(0, 0)).contains("the server runs 2"));
        first.leave();
        let third = door.enter(at(0, 0)).unwrap();
        assert!(door.enter(at(0, 0)).is_err());
        for permit in [second, third] {
            permit.begin();
            permit.leave();
        }
        door.enter(at(0, 0)).unwrap().leave();
    }

    #[test]
    fn a_method_has_a_bound_of_its_own_and_takes_nothing_when_it_refuses() {
        let door = door(Some(2), vec![vec![], vec![None, Some(1)]]);
        let slow = door.enter(at(1, 1)).unwrap();
        assert!(refused(&door, at(1, 1)).contains("the method runs 1"));
        let other = door.enter(at(1, 0)).unwrap();
        slow.leave();
        other.leave();
        door.enter(at(1, 1)).unwrap().leave();
    }

    #[test]
    fn calls_wait_until_they_begin_and_those_that_cannot_be_refused_are_counted_too() {
        let door = door(None, Vec::new());
        let permits = [door.admit(), door.admit(), door.enter(at(0, 0)).unwrap()];
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
}
