//! How many handshakes are under way, and how long each may take therefore.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Handshakes under way above which patience is short: one takes milliseconds, and strangers that
/// only hold a place are not to crowd out everybody else.
const CROWDED: usize = 1000;
/// Time for a handshake in a crowd.
const SHORT_PATIENCE: Duration = Duration::from_secs(2);
/// Handshakes under way above which there is no room: each holds some ten kilobytes.
const MOST: usize = 4096;

/// The handshakes that are under way.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    under_way: Arc<AtomicUsize>,
}

/// A place among them.
#[derive(Debug)]
pub(in crate::net) struct Place {
    before: usize,
    under_way: Arc<AtomicUsize>,
}

impl Crowd {
    /// A place for one more; `None` when there is no room.
    pub(super) fn place(&self) -> Option<Place> {
        let place = Place {
            before: self.under_way.fetch_add(1, Ordering::Relaxed),
            under_way: Arc::clone(&self.under_way),
        };
        (place.before < MOST).then_some(place)
    }
}

impl Place {
    /// How long its handshake may take, where `usual` is what there is time for otherwise.
    pub(in crate::net) fn patience(&self, usual: Duration) -> Duration {
        if self.before < CROWDED {
            usual
        } else {
            usual.min(SHORT_PATIENCE)
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_short_in_a_crowd_and_there_is_an_end_to_room() {
        let (crowd, usual) = (Crowd::default(), Duration::from_secs(10));
        let mut places: Vec<_> = (0..MOST).map(|_| crowd.place().unwrap()).collect();
        let short = places.iter().filter(|place| place.patience(usual) < usual);
        assert_eq!(short.count(), MOST - CROWDED);
        assert!(crowd.place().is_none());
        assert!(
            crowd.place().is_none(),
            "one that was refused holds no place"
        );
        let hasty = Duration::from_millis(5);
        assert!(places.iter().all(|place| place.patience(hasty) == hasty));
        places.truncate(10);
        assert_eq!(crowd.place().unwrap().patience(usual), usual);
    }
}
