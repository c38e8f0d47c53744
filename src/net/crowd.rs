//! How many of something there may be at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Those that are there, and how many there may be.
#[derive(Debug)]
pub(super) struct Crowd {
    most: usize,
    there: Arc<AtomicUsize>,
}

/// A place among them, given back when it is dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct Place {
    before: usize,
    there: Arc<AtomicUsize>,
}

impl Crowd {
    /// Room for so many.
    pub(super) fn of(most: usize) -> Self {
        let there = Arc::default();
        Self { most, there }
    }

    /// How many there may be.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// A place for one more; `None` when there is no room.
    pub(super) fn place(&self) -> Option<Place> {
        let place = Place {
            before: self.there.fetch_add(1, Ordering::Relaxed),
            there: Arc::clone(&self.there),
        };
        (place.before < self.most).then_some(place)
    }
}

impl Place {
    /// How many were there when it was taken.
    pub(super) fn before(&self) -> usize {
        self.before
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.there.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_an_end_to_room_and_who_was_refused_holds_none() {
        let crowd = Crowd::of(2);
        let mut places: Vec<_> = std::iter::from_fn(|| crowd.place()).collect();
        let before: Vec<_> = places.iter().map(Place::before).collect();
        assert_eq!(before, [0, 1]);
        assert!(crowd.place().is_none());
        assert!(crowd.place().is_none());
        places.pop();
        let again = crowd.place();
        assert_eq!(again.as_ref().map(Place::before), Some(1));
        assert!(crowd.place().is_none());
    }
}
