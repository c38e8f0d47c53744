//! Waiting on a thread of Python's, without the GIL and with an ear for Ctrl-C.

use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pyo3::prelude::*;

use crate::net::Driver;
use crate::python::{enter, errors};

/// How long a signal can go unheard.
const SLICE: Duration = Duration::from_millis(50);

/// Who is to be woken.
#[derive(Debug)]
enum Waits {
    Nobody,
    Thread,
    Task(Waker),
}

#[derive(Debug)]
enum Place<T> {
    /// Nothing yet.
    Empty(Waits),
    Filled(T),
    /// Taken, or never to be filled.
    Over,
}

#[derive(Debug)]
struct Slot<T> {
    place: Mutex<Place<T>>,
    changed: Condvar,
}

impl<T> Slot<T> {
    fn place(&self) -> MutexGuard<'_, Place<T>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, to: Place<T>) {
        match std::mem::replace(&mut *self.place(), to) {
            // To wake a thread is a system call, also when none waits.
            Place::Empty(Waits::Thread) => self.changed.notify_one(),
            Place::Empty(Waits::Task(waker)) => waker.wake(),
            Place::Empty(Waits::Nobody) | Place::Filled(_) | Place::Over => {}
        }
    }
}

/// The duty to send one message.
#[derive(Debug)]
pub(super) struct Sender<T>(Option<Arc<Slot<T>>>);

impl<T> Sender<T> {
    pub(super) fn send(mut self, message: T) {
        if let Some(slot) = self.0.take() {
            slot.change(Place::Filled(message));
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if let Some(slot) = &self.0 {
            slot.change(Place::Over);
        }
    }
}

/// Who waits for it.
#[derive(Debug)]
pub(super) struct Receiver<T>(Arc<Slot<T>>);

/// A way for one message.
pub(super) fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let slot = Arc::new(Slot {
        place: Mutex::new(Place::Empty(Waits::Nobody)),
        changed: Condvar::new(),
    });
    (Sender(Some(Arc::clone(&slot))), Receiver(slot))
}

/// What there is to be had.
enum Outcome<T> {
    Message(T),
    Nothing,
    Never,
}

impl<T> Receiver<T> {
    fn taken(place: &mut Place<T>) -> Outcome<T> {
        match std::mem::replace(place, Place::Over) {
            Place::Filled(message) => Outcome::Message(message),
            Place::Over => Outcome::Never,
            Place::Empty(waits) => {
                *place = Place::Empty(waits);
                Outcome::Nothing
            }
        }
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        match &mut *self.0.place() {
            Place::Empty(waits) => {
                *waits = Waits::Task(context.waker().clone());
                Poll::Pending
            }
            Place::Filled(_) | Place::Over => Poll::Ready(()),
        }
    }

    /// Waits for a slice of time; moves bytes meanwhile where nobody else need do that.
    fn wait_slice(&self, driver: &Driver) -> Outcome<T> {
        let came = Self::taken(&mut self.0.place());
        if !matches!(came, Outcome::Nothing) {
            return came;
        }
        if !driver.drive_alone(poll_fn(|context| self.poll(context)), SLICE) {
            let empty = |place: &mut Place<T>| matches!(place, Place::Empty(_));
            let mut place = self.0.place();
            if let Place::Empty(waits) = &mut *place {
                *waits = Waits::Thread;
            }
            let waited = self.0.changed.wait_timeout_while(place, SLICE, empty);
            drop(waited);
        }
        Self::taken(&mut self.0.place())
    }
}

/// Waits for one message. What the thread has held back is written before.
///
/// # Errors
/// What a signal handler raised, `KeyboardInterrupt` most of the time; `RuntimeError` when the one
/// who was to send it is gone.
pub(super) fn wait<T: Send>(
    py: Python<'_>,
    driver: &Driver,
    receiver: &Receiver<T>,
) -> PyResult<T> {
    py.detach(|| driver.flush());
    loop {
        let outcome = py.detach(|| receiver.wait_slice(driver));
        enter::gate(py);
        py.check_signals()?;
        match outcome {
            Outcome::Message(message) => return Ok(message),
            Outcome::Never => return Err(errors::stopped()),
            Outcome::Nothing => {}
        }
    }
}
