//! What a coroutine of the user's runs in: a coroutine itself, for a task of an event loop.
//!
//! It hands each step on, and when the last one was made it ends the call. Nothing that a handler
//! raises gets out to the loop, which an exit in it would end for all.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

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
    pub(super) context: Py<PyAny>,
    /// What it is stepped through by, once it was begun.
    steps: OnceLock<Py<PyAny>>,
    ends: Ends,
    held: Mutex<Held>,
    /// What it ran for has ended.
    over: AtomicBool,
}

/// What is held until it has ended.
#[derive(Default)]
struct Held {
    turn: Option<Turn>,
    task: Option<Kept>,
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
            held: Mutex::new(Held {
                turn: Some(turn),
                task: None,
            }),
            over: AtomicBool::new(false),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it is called: the full name of the method, or that of the hook.
    pub(super) fn name<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        match &self.ends {
            Ends::Call(done) => match done.get().bound() {
                Some(bound) => bound.name.bind(py).clone(),
                None => intern!(py, "handler").clone(),
            },
            Ends::Hook(name, _) => PyString::intern(py, name),
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
        let held = self.held();
        let runs = held.turn.as_ref().and_then(|(_, runs)| runs.as_ref());
        runs.is_none_or(RunsOn::begins)
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

    /// Has `task`, which runs it, kept in `tasks` until it has ended; on the thread of its loop.
    pub(super) fn keep(&self, tasks: &Bound<'_, PySet>, task: Bound<'_, PyAny>) -> PyResult<()> {
        // Started eagerly, it may have.
        if !self.over.load(Ordering::Relaxed) {
            tasks.add(&task)?;
            self.held().task = Some((tasks.clone().unbind(), task.unbind()));
        }
        Ok(())
    }

    /// Ends the call with what kept it from being run.
    pub(super) fn fail(&self, py: Python<'_>, error: PyErr) -> PyResult<()> {
        self.close(py)?;
        self.conclude(py, Err(error));
        Ok(())
    }

    /// Ends what it ran for; what that says waits for the end of this turn of the loop.
    fn conclude(&self, py: Python<'_>, outcome: Result<&Bound<'_, PyAny>, PyErr>) {
        self.over.store(true, Ordering::Relaxed);
        let Held { turn, task } = mem::take(&mut *self.held());
        let ended = holding_back(|| self.end(py, outcome));
        // The turn ends after the call.
        drop(turn);
        if let Some((tasks, task)) = task
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
        let told = errors::rpc_error(py, &Status::new(Code::Cancelled, why), None)?;
        self.fail(py, PyErr::from_value(told))
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
