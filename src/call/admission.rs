//! Who may come in: how many calls a server runs at once, in all and of each method.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

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
#[derive(Debug, Default)]
struct Room {
    most: Option<usize>,
    taken: AtomicUsize,
}

impl Room {
    fn new(most: Option<usize>) -> Arc<Self> {
        Arc::new(Self {
            most,
            taken: AtomicUsize::new(0),
        })
    }

    fn enter(self: &Arc<Self>) -> Option<Place> {
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(self));
        // Given back by the drop when there is no room.
        self.most.is_none_or(|most| taken < most).then_some(place)
    }
}

/// One call's place in a room, until dropped.
#[derive(Debug)]
struct Place(Arc<Room>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The right of one call to be here, until dropped.
#[derive(Debug)]
pub struct Permit {
    _server: Place,
    _method: Option<Place>,
}

/// The door of one server.
#[derive(Debug)]
pub struct Admission {
    limits: Limits,
    server: Arc<Room>,
    /// By service and method, where a method has a bound of its own.
    methods: Vec<Vec<Option<Arc<Room>>>>,
}

impl Admission {
    /// A door with `limits`, and with the bounds of single methods by service and method.
    #[must_use]
    pub fn new(limits: Limits, methods: Vec<Vec<Option<usize>>>) -> Self {
        let room = |most: Option<usize>| most.map(|most| Room::new(Some(most)));
        Self {
            server: Room::new(limits.concurrency),
            limits,
            methods: methods
                .into_iter()
                .map(|service| service.into_iter().map(room).collect())
                .collect(),
        }
    }

    /// The bounds.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Lets a call in.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED`, and which bound it is.
    pub fn enter(&self, service: usize, method: usize) -> Result<Permit, Status> {
        let full = |what: &str, most: usize| {
            let text = format!("{what} runs {most} calls at once, its max_concurrency");
            Status::new(Code::ResourceExhausted, text)
        };
        let Some(server) = self.server.enter() else {
            return Err(full("the server", self.limits.concurrency.unwrap_or(0)));
        };
        let room = self.methods.get(service).and_then(|all| all.get(method));
        let method = match room {
            None | Some(None) => None,
            Some(Some(room)) => Some(
                room.enter()
                    .ok_or_else(|| full("the method", room.most.unwrap_or(0)))?,
            ),
        };
        Ok(Permit {
            _server: server,
            _method: method,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(concurrency: Option<usize>) -> Limits {
        Limits {
            concurrency,
            queued: 10,
            queue_time: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_call_keeps_its_place_until_its_permit_is_gone() {
        let door = Admission::new(limits(Some(2)), Vec::new());
        let first = door.enter(0, 0).unwrap();
        let second = door.enter(0, 1).unwrap();
        let refused = door.enter(0, 0).unwrap_err();
        assert_eq!(refused.code, Code::ResourceExhausted);
        assert!(refused.text.contains("the server runs 2"), "{refused}");
        drop(first);
        let third = door.enter(0, 0).unwrap();
        assert!(door.enter(0, 0).is_err());
        drop((second, third));
        assert!(door.enter(0, 0).is_ok());
    }

    #[test]
    fn a_method_has_a_bound_of_its_own_and_takes_nothing_when_it_refuses() {
        let door = Admission::new(limits(Some(2)), vec![vec![], vec![None, Some(1)]]);
        let slow = door.enter(1, 1).unwrap();
        let refused = door.enter(1, 1).unwrap_err();
        assert!(refused.text.contains("the method runs 1"), "{refused}");
        let other = door.enter(1, 0).unwrap();
        drop((slow, other));
        assert!(door.enter(1, 1).is_ok());
    }
}
