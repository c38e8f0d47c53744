//! What is said in one turn of an event loop leaves in one write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;

use crate::net::Driver;
use crate::python::enter;

/// Called at the end of a turn in which something was held back.
#[pyclass(frozen, module = "callmethod._core")]
#[derive(Debug)]
pub(super) struct Cork {
    driver: Arc<Driver>,
    /// Somebody will call it.
    closed: AtomicBool,
}

impl Cork {
    pub(super) fn new(driver: Arc<Driver>) -> Self {
        let closed = AtomicBool::new(false);
        Self { driver, closed }
    }

    /// Something is held back; says whether this is to be called soon.
    pub(super) fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::Relaxed)
    }
}

#[pymethods]
impl Cork {
    fn __call__(&self, py: Python<'_>) {
        enter::gate(py);
        self.closed.store(false, Ordering::Relaxed);
        py.detach(|| self.driver.flush());
    }
}
