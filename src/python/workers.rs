//! Threads of Python's that run what a processor has to run.
//!
//! The threads themselves are started in Python, so that debuggers, profilers and coverage tools
//! see them as they see any other thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use pyo3::prelude::*;

use crate::call::Level;
use crate::metrics::Counters;
use crate::net::Crew;
use crate::python::enter;
use crate::python::process::Process;
use crate::python::waiting;

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
                waiting::begin_visit();
                if catch_unwind(AssertUnwindSafe(|| worker.visit(&lane))).is_err() {
                    Counters::count(&self.counters.panics);
                    let text = "panic in a handler's thread; please report it".to_owned();
                    self.process.get().journal.write(Level::Error, text);
                }
            }
        }
    }

    /// Lets the threads go.
    fn stop(&self) {
        self.crew.processor().stop();
    }
}
