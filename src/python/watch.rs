//! Closures of `NotifyOnCancel`, on their way to being called.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;

use crate::call::{EndListener, LossListener};
use crate::python::callbacks::{Callback, Callbacks};

/// Closures that wait for the call to be cancelled or to end.
///
/// They are touched by attached threads only: the garbage collector looks at them twice in one
/// collection, and takes for garbage what went away in between.
#[derive(Debug)]
pub(super) struct Watch {
    me: Weak<Self>,
    callbacks: Arc<Callbacks>,
    closures: Mutex<Option<Vec<Py<PyAny>>>>,
}

impl Watch {
    /// A watch whose closures are called by whoever empties `callbacks`.
    pub(super) fn new(callbacks: Arc<Callbacks>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            callbacks,
            closures: Mutex::new(Some(Vec::new())),
        })
    }

    /// For the garbage collector.
    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Nobody holds the lock and gives up the GIL, so it is never taken here.
        if let Ok(closures) = self.closures.try_lock() {
            for closure in closures.iter().flatten() {
                visit.call(closure)?;
            }
        }
        Ok(())
    }

    fn closures(&self) -> MutexGuard<'_, Option<Vec<Py<PyAny>>>> {
        self.closures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all closures: the garbage collector found that nobody can end the call.
    pub(super) fn clear(&self) {
        let closures = self.closures().take();
        drop(closures);
    }

    /// All closures, to be called; one that is added later is called at once.
    pub(super) fn take(&self, _attached: Python<'_>) -> Vec<Py<PyAny>> {
        mem::take(&mut *self.closures()).unwrap_or_default()
    }

    /// Adds a closure.
    pub(super) fn add(&self, closure: Py<PyAny>) {
        match &mut *self.closures() {
            Some(closures) => closures.push(closure),
            None => self.callbacks.post(Callback::Plain(closure)),
        }
    }
}

impl Watch {
    /// Has all closures called. Whoever says this may not be attached.
    fn fire(&self) {
        if let Some(watch) = self.me.upgrade() {
            self.callbacks.post(Callback::Watched(watch));
        }
    }
}

impl LossListener for Watch {
    fn lost(&self) {
        self.fire();
    }
}

impl EndListener for Watch {
    fn ended(&self) {
        self.fire();
    }
}
