//! The time by which this floor lives.

use std::time::Instant;

use tokio::time::Instant as RuntimeInstant;

/// Now, by the clock of the runtime that the thread is in: a test may hold it, and move it on.
pub(super) fn now() -> Instant {
    RuntimeInstant::now().into_std()
}
