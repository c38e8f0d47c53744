//! Threads of Python's that run what a processor has to run.
//!
//! The threads themselves are started in Python, so that debuggers, profilers and coverage tools
//! see them as they see any other thread.

use std::fs::File;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Wake;

use pyo3::prelude::*;

use crate::call::{Lane, Level};
use crate::metrics::Counters;
use crate::net::Crew;
use crate::python::process::Process;
use crate::python::{enter, fd, waiting};

/// The workers of one processor.
#[pyclass(frozen, module = "callmethod._core")]
pub(super) struct Workers {
    pub(super) crew: Crew,
    pub(super) counters: Arc<Counters>,
    process: Py<Process>,
}

#[pymethods]
impl Workers {
    #[new]
    fn new(process: Py<Process>) -> Self {
        Self {
            crew: Crew::new(Arc::default(), Arc::clone(&process.get().driver)),
            counters: Arc::default(),
            process,
        }
    }

    /// Runs what there is to run until `stop` was called and nothing is left.
    fn run(&self, py: Python<'_>) {
        let mut worker = self.crew.worker();
        while py.detach(|| worker.wait()) {
            while let Some(lane) = worker.take() {
                enter::gate(py);
                self.visit(|| worker.visit(&lane));
            }
        }
    }

    /// Has an event loop do what workers do, whenever it calls `attend`. Takes over the descriptor
    /// `bell`; a byte is written to it when it is to do so.
    fn host(&self, bell: i32) {
        let bell = Bell(File::from(fd::take(bell)));
        self.crew.processor().host(Arc::new(bell).into());
    }

    /// Reads what has come and has handlers called, on the event loop's own thread, which then has
    /// to start the coroutines that wait. False when another thread reads.
    fn attend(&self, py: Python<'_>) -> bool {
        enter::gate(py);
        let read = py.detach(|| self.crew.host_comes());
        enter::gate(py);
        let visit = |lane: &Arc<Lane>| self.visit(|| lane.run());
        waiting::hosting(|| self.crew.host_runs(visit));
        py.detach(|| self.crew.host_goes());
        read
    }

    /// The event loop goes on without this.
    fn unhost(&self) {
        self.crew.processor().unhost();
    }

    /// Lets the threads go.
    fn stop(&self) {
        self.crew.processor().stop();
    }
}

impl Workers {
    /// A visit of a lane, in which a panic stays.
    fn visit(&self, visit: impl FnOnce()) {
        waiting::begin_visit();
        if catch_unwind(AssertUnwindSafe(visit)).is_err() {
            Counters::count(&self.counters.panics);
            let text = "panic in a handler's thread; please report it".to_owned();
            self.process.get().journal.write(Level::Error, text);
        }
    }
}

/// A socket at whose other end an event loop listens.
struct Bell(File);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // It fails when the loop is closed, whom workers then stand in for, or when the socket is
        // full of rings that the loop will hear.
        drop((&self.0).write(&[1]));
    }
}
