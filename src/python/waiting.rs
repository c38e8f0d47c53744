//! Coroutines on their way to an event loop, all that wait together in one wake-up.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PySet};
use pyo3::{PyTraverseError, intern};

use crate::python::coroutine::Coroutine;
use crate::python::enter;

#[derive(Debug, Default)]
struct Queue {
    coroutines: Vec<Py<Coroutine>>,
    /// `asyncio.AbstractEventLoop`; none before the first one comes.
    event_loop: Option<Py<PyAny>>,
    /// At which visit it was last looked whether that is closed.
    looked_at: Option<Visit>,
    closed: bool,
}

/// One visit of a worker to a lane, of all there were.
type Visit = u64;

thread_local! {
    /// That of this thread, if it is a worker.
    static VISIT: Cell<Option<Visit>> = const { Cell::new(None) };
    /// This thread is the event loop's, which looks for coroutines by itself in a moment.
    static HOSTS: Cell<bool> = const { Cell::new(false) };
}

/// A visit of this thread begins: nothing is known any more of what the visit before has seen.
pub(super) fn begin_visit() {
    static LAST: AtomicU64 = AtomicU64::new(0);
    VISIT.set(Some(LAST.fetch_add(1, Ordering::Relaxed)));
}

/// Does `work` on an event loop that starts what waits when it is done.
pub(super) fn hosting<T>(work: impl FnOnce() -> T) -> T {
    HOSTS.set(true);
    let done = work();
    HOSTS.set(false);
    done
}

/// What became of a coroutine that was to be added.
enum Pushed {
    /// It was not added: no loop is known yet.
    NoLoop,
    /// It waits behind others, and the loop was looked at in the same visit.
    Behind,
    /// It waits; whoever is the first one wakes the loop.
    Waits { event_loop: Py<PyAny>, first: bool },
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

    /// Adds a coroutine where a loop is known.
    fn push(&self, py: Python<'_>, coroutine: &Py<Coroutine>) -> PyResult<Pushed> {
        let mut queue = self.queue();
        if queue.closed {
            return Err(PyRuntimeError::new_err("the server has stopped"));
        }
        let Some(event_loop) = &queue.event_loop else {
            return Ok(Pushed::NoLoop);
        };
        let event_loop = event_loop.clone_ref(py);
        queue.coroutines.push(coroutine.clone_ref(py));
        let (first, visit) = (queue.coroutines.len() == 1, VISIT.get());
        if HOSTS.get() || !first && visit.is_some() && queue.looked_at == visit {
            return Ok(Pushed::Behind);
        }
        queue.looked_at = visit;
        Ok(Pushed::Waits { event_loop, first })
    }

    /// Has a coroutine run; `RuntimeError` when no loop will.
    pub(super) fn submit(&self, py: Python<'_>, coroutine: &Py<Coroutine>) -> PyResult<()> {
        let (event_loop, first) = loop {
            match self.push(py, coroutine)? {
                Pushed::Behind => return Ok(()),
                Pushed::Waits { event_loop, first } => break (event_loop.into_bound(py), first),
                Pushed::NoLoop => {
                    let made = enter::call(self.event_loop.bind(py), ())?;
                    self.queue().event_loop = Some(made.unbind());
                }
            }
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

    /// Has a task made of each that waits, by `make(coroutine, **arguments, name=..., context=...)`,
    /// and kept in `tasks` until it has ended.
    fn make_tasks(
        &self,
        make: &Bound<'_, PyAny>,
        arguments: &Bound<'_, PyDict>,
        tasks: &Bound<'_, PySet>,
    ) -> PyResult<()> {
        let py = make.py();
        for coroutine in self.take() {
            let runs = coroutine.get();
            arguments.set_item(intern!(py, "name"), runs.name(py))?;
            arguments.set_item(intern!(py, "context"), &runs.context)?;
            let task = enter::call_with(make, (coroutine.clone_ref(py),), arguments);
            let told = match task {
                Ok(task) => runs.keep(tasks, task),
                Err(error) => runs.fail(py, error),
            };
            if let Err(error) = told {
                // The others are to run all the same.
                error.write_unraisable(py, Some(make));
            }
        }
        Ok(())
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
