//! The mailbox of an event loop: ends of calls that were made on it.

use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;

use crate::net::Listening;
use crate::python::callbacks::{Bell, Callback, Callbacks, ReadyCall};
use crate::python::cork::Cork;
use crate::python::process::Process;
use crate::python::{enter, fd};

/// Ends of calls, for the event loop that hears `bell`.
#[pyclass(frozen, module = "callmethod._core")]
pub(super) struct Mailbox {
    pub(super) callbacks: Arc<Callbacks>,
    process: Py<Process>,
    cork: Py<Cork>,
    /// None once the loop has left.
    listening: Mutex<Option<Listening>>,
}

#[pymethods]
impl Mailbox {
    /// Takes over the descriptor `bell`; a byte is written to it when the empty box gets a letter.
    /// `look_after()` is called on the callbacks' thread when letters lie for too long.
    #[new]
    fn new(
        py: Python<'_>,
        process: Py<Process>,
        bell: i32,
        look_after: Py<PyAny>,
    ) -> PyResult<Self> {
        let bell = Bell {
            socket: File::from(fd::take(bell)),
            runtime: process.get().handle().clone(),
            process: Arc::clone(&process.get().callbacks),
            look_after,
        };
        let driver = || Arc::clone(&process.get().driver);
        Ok(Self {
            callbacks: Arc::new(Callbacks::new(driver(), Some(bell))),
            cork: Py::new(py, Cork::new(driver()))?,
            listening: Mutex::new(Some(driver().listen())),
            process,
        })
    }

    /// A call was made on the loop: what is to be called at the end of its turn, if it is not yet.
    fn cork(&self, py: Python<'_>) -> Option<Py<Cork>> {
        self.cork.get().close().then(|| self.cork.clone_ref(py))
    }

    /// Reads what has come, on the loop's own thread, which then has to take what that brought.
    /// False when another thread reads, or has to.
    fn look(&self, py: Python<'_>) -> bool {
        enter::gate(py);
        let driver = &self.process.get().driver;
        let read = py.detach(|| self.callbacks.unheard(|| driver.glance_alone()));
        enter::gate(py);
        read
    }

    /// Gives what is there and what will come to the callbacks' thread: the loop is closed.
    fn pass_on(&self) {
        let mut listening = self
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        listening.take();
        drop(listening);
        self.callbacks.pass_on(&self.process.get().callbacks);
    }

    /// All that is there, without waiting: `(callable, args)` each.
    fn take<'py>(&self, py: Python<'py>) -> Vec<ReadyCall<'py>> {
        enter::gate(py);
        Callback::prepared(py, true, self.callbacks.take_now())
    }
}
