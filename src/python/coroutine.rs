//! What a coroutine of the user's runs in: a coroutine itself, for a task of an event loop.
//!
//! It hands each step on, and when the last one was made it ends the call. Nothing that a handler
//! raises gets out to the loop, which an exit in it would end for all.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use pyo3::exceptions::PyStopIteration;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PySet, PyString, PyTuple};
use pyo3::{PyTraverseError, intern};

use crate::call::{Hold, Link as Peer, RunsOn};
use crate::net::holding_back;
use crate::python::completion::Done;
use crate::python::enter::{self, Sent};
use crate::python::servicing::Servicing;
use crate::python::{errors, imports};
use crate::status::{Code, Status};

/// The turn of its connection, and the call's place among those that run.
type Turn = (Hold, Option<RunsOn>);

/// A task, and the set that keeps it: the loop does not.
type Kept = (Py<PySet>, Py<PyAny>);

/// What has ended when a coroutine has.
pub(super) enum Ends {
    /// A call.
    Call(Py<Done>),
    /// A hook of a connection, by its name.
    Hook(&'static str, Arc<dyn Peer>),
}

/// Runs what a handler gave to be awaited.
#[pyclass(frozen, weakref, module = "callmethod._core")]
pub(super) struct Coroutine {
    servicing: Arc<Servicing>,
    awaitable: Py<PyAny>,
    /// What it runs in.
    #[pyo3(get)]
    context: Py<PyAny>,
    /// What it is stepped through by, once it was begun.
    steps: OnceLock<Py<PyAny>>,
    ends: Ends,
    running: Mutex<Option<Turn>>,
    kept: Mutex<Option<Kept>>,
}

fn taken<T>(place: &Mutex<Option<T>>) -> Option<T> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl Coroutine {
    pub(super) fn new(
        servicing: Arc<Servicing>,
        awaitable: Py<PyAny>,
        context: Py<PyAny>,
        ends: Ends,
        turn: Turn,
    ) -> Self {
        Self {
            servicing,
            awaitable,
            context,
            steps: OnceLock::new(),
            ends,
            running: Mutex::new(Some(turn)),
            kept: Mutex::new(None),
        }
    }

    fn steps<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyAny>> {
        if let Some(steps) = self.steps.get() {
            return Ok(steps.bind(py));
        }
        let steps = enter::awaited(self.awaitable.bind(py))?.unbind();
        // A task makes one step at a time.
        Ok(self.steps.get_or_init(|| steps).bind(py))
    }

    /// Whether it is still wanted, now that its loop comes to it.
    fn begins(&self) -> bool {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = running.as_ref().and_then(|(_, runs)| runs.as_ref());
        runs.is_none_or(|runs| runs.begins(Instant::now()))
    }

    /// What is yielded; `None` when it has ended.
    fn step<'py>(
        &self,
        py: Python<'py>,
        send: impl FnOnce(&Bound<'py, PyAny>) -> PyResult<Sent<'py>>,
    ) -> Option<Bound<'py, PyAny>> {
        if self.steps.get().is_none() && !self.begins() {
            // Its caller waits no more, so it is not begun.
            match self.close(py) {
                Ok(()) => self.conclude(py, Ok(&py.None().into_bound(py))),
                Err(error) => self.conclude(py, Err(error)),
            }
            return None;
        }
        match self.steps(py).and_then(send) {
            Ok(Sent::Yielded(value)) => return Some(value),
            Ok(Sent::Returned(value)) => self.conclude(py, Ok(&value)),
            Err(error) => self.conclude(py, Err(error)),
        }
        None
    }

    /// Ends what it ran for; what that says waits for the end of this turn of the loop.
    fn conclude(&self, py: Python<'_>, outcome: Result<&Bound<'_, PyAny>, PyErr>) {
        let ended = holding_back(|| self.end(py, outcome));
        if let Some((tasks, task)) = taken(&self.kept)
            && let Err(error) = tasks.bind(py).discard(task)
        {
            error.write_unraisable(py, None);
        }
        let cork = &self.servicing.cork;
        let flushed = if cork.get().close() {
            let soon = self.servicing.call_soon.bind(py);
            enter::call(soon, (cork,)).map(drop)
        } else {
            Ok(())
        };
        for failed in [ended, flushed] {
            if let Err(error) = failed {
                error.write_unraisable(py, Some(self.awaitable.bind(py)));
            }
        }
    }

    fn end(&self, py: Python<'_>, outcome: Result<&Bound<'_, PyAny>, PyErr>) -> PyResult<()> {
        // The turn ends after the call.
        let _turn = taken(&self.running);
        match (&self.ends, outcome) {
            // It has called `done`, or somebody will.
            (Ends::Call(_), Ok(result)) if result.is_none() => {}
            (Ends::Call(done), Ok(result)) => return done.get().conclude(py, Some(result)),
            (Ends::Call(done), Err(error)) if error.matches(py, imports::cancelled(py)?)? => {
                let status = Status::new(Code::Cancelled, "the handler was cancelled");
                let told = errors::rpc_error(py, &status, None)?;
                done.get().raise(py, PyErr::from_value(told));
            }
            (Ends::Call(done), Err(error)) => done.get().raise(py, error),
            (Ends::Hook(..), Ok(_)) => {}
            (Ends::Hook(name, link), Err(error)) => {
                self.servicing.hook_failed(py, name, link.peer(), error);
            }
        }
        Ok(())
    }
}

#[pymethods]
impl Coroutine {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        enter::gate(py);
        self.step(py, |steps| enter::send(steps, &py.None().into_bound(py)))
    }

    /// Makes a step; `StopIteration` at the last one.
    fn send<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = value.py();
        enter::gate(py);
        let yielded = self.step(py, |steps| enter::send(steps, value));
        yielded.ok_or_else(|| PyStopIteration::new_err(()))
    }

    /// Has a step raise; `StopIteration` when it was the last one.
    #[pyo3(signature = (*args))]
    fn throw<'py>(&self, args: Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
        let py = args.py();
        enter::gate(py);
        let yielded = self.step(py, |steps| {
            match enter::call(&steps.getattr(intern!(py, "throw"))?, args) {
                Ok(value) => Ok(Sent::Yielded(value)),
                Err(error) if error.is_instance_of::<PyStopIteration>(py) => {
                    let value = error.value(py).getattr(intern!(py, "value"))?;
                    Ok(Sent::Returned(value))
                }
                Err(error) => Err(error),
            }
        });
        yielded.ok_or_else(|| PyStopIteration::new_err(()))
    }

    /// Ends it before it was begun, or where it waits.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        enter::gate(py);
        match self.awaitable.bind(py).getattr_opt(intern!(py, "close"))? {
            Some(close) => enter::call(&close, ()).map(drop),
            None => Ok(()),
        }
    }

    /// Ends the call as CANCELLED: the coroutine will not be run.
    pub(super) fn refuse(&self, py: Python<'_>, why: String) -> PyResult<()> {
        enter::gate(py);
        self.close(py)?;
        let told = errors::rpc_error(py, &Status::new(Code::Cancelled, why), None)?;
        self.conclude(py, Err(PyErr::from_value(told)));
        Ok(())
    }

    /// Has `task`, which runs it, kept in `tasks` until it has ended.
    fn keep(&self, tasks: &Bound<'_, PySet>, task: Bound<'_, PyAny>) -> PyResult<()> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_none() {
            // Started eagerly, it has ended.
            return Ok(());
        }
        drop(running);
        tasks.add(&task)?;
        let kept = (tasks.clone().unbind(), task.unbind());
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(())
    }

    /// What debuggers ask for is the user's own.
    fn __getattr__(&self, py: Python<'_>, name: &Bound<'_, PyString>) -> PyResult<Py<PyAny>> {
        self.awaitable.bind(py).getattr(name).map(Bound::unbind)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.awaitable)?;
        visit.call(&self.context)?;
        if let Some(steps) = self.steps.get() {
            visit.call(steps)?;
        }
        match &self.ends {
            Ends::Call(done) => visit.call(done),
            Ends::Hook(..) => Ok(()),
        }
    }
}
