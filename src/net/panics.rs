//! Panics stay where they are: one costs its connection, and nothing else.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;

use crate::call::{CloseReason, Level};
use crate::metrics::Counters;
use crate::net::terms::Terms;

/// Runs `future`; gives what was said instead of its outcome if it panics. It is not run on then,
/// so that what it has left half done is seen by nobody but those who clean up.
pub(super) async fn contained<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = pin!(future);
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Err(said(&*panic)).into(),
        }
    })
    .await
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without words")
        .to_owned()
}

impl Terms {
    /// Counts and writes down a panic, and says why the connection ends for it.
    pub(super) fn broken_by(&self, panic: &str) -> CloseReason {
        Counters::count(&self.counters.panics);
        let text = format!("panic in the core; please report it text={panic:?}");
        self.journal.write(Level::Error, text);
        CloseReason::fault()
    }
}
