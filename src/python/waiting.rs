//! Coroutines on their way to an event loop, all that wait together in one wake-up.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, intern};

use crate::python::coroutine::Coroutine;
use crate::python::enter;

#[derive(Debug, Default)]
struct Queue {
    coroutines: Vec<Py<Coroutine>>,
    /// `asyncio.AbstractEventLoop`; none before the first one comes.
    event_loop: Option<Py<PyAny>>,
    closed: bool,
}

/// Coroutines that no loop has taken yet.
#[pyclass(frozen, module = "callmethod._core")]
#[derive(Debug)]
pub(super) struct Waiting {
    queue: Mutex<Queue>,
    /// Gives the loop, made at the first need.
    event_loop: Py<PyAny>,
    /// Called on the loop when some wait.
    start: Py<PyAny>,
}

impl Waiting {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a coroutine run; `RuntimeError` when no loop will.
    pub(super) fn submit(&self, py: Python<'_>, coroutine: &Py<Coroutine>) -> PyResult<()> {
        let known = {
            let queue = self.queue();
            if queue.closed {
                return Err(PyRuntimeError::new_err("the server has stopped"));
            }
            queue.event_loop.as_ref().map(|known| known.clone_ref(py))
        };
        let event_loop = if let Some(known) = known {
            known.into_bound(py)
        } else {
            let made = enter::call(self.event_loop.bind(py), ())?;
            self.queue().event_loop = Some(made.clone().unbind());
            made
        };
        let first = {
            let mut queue = self.queue();
            queue.coroutines.push(coroutine.clone_ref(py));
            queue.coroutines.len() == 1
        };
        // A loop that was closed has taken none and never will.
        let wake =
            first || enter::call_method(&event_loop, intern!(py, "is_closed"), &[])?.is_truthy()?;
        if !wake {
            return Ok(());
        }
        let name = intern!(py, "call_soon_threadsafe");
        let woken = enter::call_method(&event_loop, name, &[self.start.bind(py)]);
        if woken.is_err() {
            self.queue().coroutines.retain(|other| !other.is(coroutine));
            for left in self.take() {
                let why = "the event loop of the handlers is closed".to_owned();
                left.get().refuse(py, why)?;
            }
        }
        woken.map(drop)
    }
}

#[pymethods]
impl Waiting {
    #[new]
    fn new(event_loop: Py<PyAny>, start: Py<PyAny>) -> Self {
        Self {
            queue: Mutex::default(),
            event_loop,
            start,
        }
    }

    /// All that wait.
    fn take(&self) -> Vec<Py<Coroutine>> {
        std::mem::take(&mut self.queue().coroutines)
    }

    /// Whether none waits.
    fn is_empty(&self) -> bool {
        self.queue().coroutines.is_empty()
    }

    /// Takes nothing more; says whether it did until now.
    fn close(&self) -> bool {
        !std::mem::replace(&mut self.queue().closed, true)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)?;
        visit.call(&self.start)
    }
}
