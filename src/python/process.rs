//! What the servers and channels of one process share.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use pyo3::prelude::*;
use tokio::runtime::Handle;

use crate::call::{Journal, Level, Record};
use crate::net::{Driver, Runtime, hold_back};
use crate::python::callbacks::{Callback, Callbacks, ReadyCall};
use crate::python::{enter, errors, imports};

/// Level as `logging` numbers it, text, exception.
type LogLine = (u8, String, Option<Py<PyAny>>);

/// The I/O thread, the journal and the callbacks. Made at the first need, never at import, and
/// ended with the last server or channel.
#[pyclass(frozen, module = "callmethod._core")]
pub(super) struct Process {
    runtime: Mutex<Option<Runtime>>,
    pub(super) driver: Arc<Driver>,
    /// One moment by our clock and by `time.monotonic`.
    moment: (Instant, f64),
    pub(super) journal: Arc<Journal>,
    pub(super) callbacks: Arc<Callbacks>,
}

impl Process {
    /// What `time.monotonic` will say then.
    pub(super) fn monotonic(&self, then: Instant) -> f64 {
        let (moment, seconds) = self.moment;
        match then.checked_duration_since(moment) {
            Some(after) => seconds + after.as_secs_f64(),
            None => seconds - (moment - then).as_secs_f64(),
        }
    }

    /// Where tasks are started.
    pub(super) fn handle(&self) -> &Handle {
        self.driver.handle()
    }
}

#[pymethods]
impl Process {
    #[new]
    fn new(py: Python<'_>) -> PyResult<Self> {
        imports::load(py)?;
        let runtime = Runtime::start()
            .map_err(|error| errors::os_error(&error, "starting the I/O thread"))?;
        let seconds = py.import("time")?.call_method0("monotonic")?.extract()?;
        Ok(Self {
            moment: (Instant::now(), seconds),
            callbacks: Arc::new(Callbacks::new(Arc::clone(runtime.driver()), None)),
            driver: Arc::clone(runtime.driver()),
            runtime: Mutex::new(Some(runtime)),
            journal: Arc::default(),
        })
    }

    /// The number of a descriptor that is readable when something has come; None where there is
    /// none.
    fn poller(&self) -> Option<i32> {
        self.driver.poller()
    }

    /// Waits for log lines: `(level, text, exception or None)` each; None when closed and empty.
    fn next_records(&self, py: Python<'_>) -> Option<Vec<LogLine>> {
        let level = |level| match level {
            Level::Info => 20,
            Level::Warning => 30,
            Level::Error => 40,
        };
        let records = py.detach(|| self.journal.take())?;
        enter::gate(py);
        let exception = |record: Record| -> Option<Py<PyAny>> {
            record.attached?.downcast().ok().map(|exception| *exception)
        };
        let line = |record: Record| (level(record.level), record.text.clone(), exception(record));
        Some(records.into_iter().map(line).collect())
    }

    /// Waits for callbacks and runs them, by `run(callable, args)` where it does not call them
    /// itself; what these raise, `failed(exception)` is told. False when closed and empty.
    fn run_callbacks(&self, run: &Bound<'_, PyAny>, failed: &Bound<'_, PyAny>) -> bool {
        let py = run.py();
        hold_back(true);
        let Some(callbacks) = py.detach(|| self.callbacks.take()) else {
            return false;
        };
        for callback in callbacks {
            enter::gate(py);
            callback.run(run, failed);
        }
        true
    }

    /// The callbacks that are there, without waiting: `(callable, args)` each.
    fn take_callbacks<'py>(&self, py: Python<'py>) -> Vec<ReadyCall<'py>> {
        Callback::prepared(py, false, self.callbacks.take_now())
    }

    /// Has `function(*args)` called by the callbacks' thread.
    fn post(&self, function: Py<PyAny>, args: Py<PyAny>) {
        self.callbacks.post(Callback::Ready {
            callable: function,
            args,
        });
    }

    /// Ends the I/O thread with all its tasks, and lets the other threads go.
    fn close(&self, py: Python<'_>) {
        let runtime = self
            .runtime
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        py.detach(|| drop(runtime));
        self.callbacks.close();
        self.journal.close();
    }
}
