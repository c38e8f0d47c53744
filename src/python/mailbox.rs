//! The mailbox of an event loop: ends of calls that were made on it.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;

use crate::python::callbacks::{Bell, Callback, Callbacks, ReadyCall};
use crate::python::process::Process;
use crate::python::{enter, fd};

/// Ends of calls, for the event loop that hears `bell`.
#[pyclass(frozen, module = "callmethod._core")]
pub(super) struct Mailbox {
    pub(super) callbacks: Arc<Callbacks>,
    process: Py<Process>,
    /// Calls of this turn of the loop are held back, and somebody will flush them.
    corked: AtomicBool,
}

#[pymethods]
impl Mailbox {
    /// Takes over the descriptor `bell`; a byte is written to it when the empty box gets a letter.
    /// `look_after()` is called on the callbacks' thread when letters lie for too long.
    #[new]
    fn new(process: Py<Process>, bell: i32, look_after: Py<PyAny>) -> Self {
        let bell = Bell {
            socket: File::from(fd::take(bell)),
            runtime: process.get().handle().clone(),
            process: Arc::clone(&process.get().callbacks),
            look_after,
        };
        Self {
            callbacks: Arc::new(Callbacks::ringing(bell)),
            process,
            corked: AtomicBool::new(false),
        }
    }

    /// A call was made on the loop; says whether `flush()` is to be called at the end of its turn.
    fn cork(&self) -> bool {
        !self.corked.swap(true, Ordering::Relaxed)
    }

    /// Writes the calls that were made in this turn of the loop.
    fn flush(&self, py: Python<'_>) {
        enter::gate(py);
        self.corked.store(false, Ordering::Relaxed);
        py.detach(|| self.process.get().driver.flush());
    }

    /// Gives what is there and what will come to the callbacks' thread: the loop is closed.
    fn pass_on(&self) {
        self.callbacks.pass_on(&self.process.get().callbacks);
    }

    /// All that is there, without waiting: `(callable, args)` each.
    fn take<'py>(&self, py: Python<'py>) -> Vec<ReadyCall<'py>> {
        enter::gate(py);
        Callback::prepared(py, true, self.callbacks.take_now())
    }
}
