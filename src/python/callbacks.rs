//! Callbacks of users, on their way to the one thread that runs them.
//!
//! Nothing bounds the queue: each entry stands for a call that its caller has made and that has
//! ended, or for a `NotifyOnCancel` of a call that is being held anyway.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use pyo3::IntoPyObjectExt as _;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::python::controller::Watch;
use crate::python::errors;
use crate::status::Status;

/// One call of a callable.
#[derive(Debug)]
pub(super) enum Callback {
    /// `callable()`.
    Plain(Py<PyAny>),
    /// All closures of a call whose connection was lost.
    Lost(Arc<Watch>),
    /// `callable(*args)`.
    Ready {
        /// What to call.
        callable: Py<PyAny>,
        /// A tuple.
        args: Py<PyAny>,
    },
    /// `callable(error)`, with None or an `RpcError`.
    Ended {
        /// What to call.
        callable: Py<PyAny>,
        /// How a call of ours ended.
        outcome: Result<(), Status>,
        /// Whom it was to.
        peer: String,
    },
}

/// A callable and its arguments.
pub(super) type ReadyCall<'py> = (Py<PyAny>, Bound<'py, PyAny>);

impl Callback {
    /// Adds what is to be called to `ready`.
    pub(super) fn prepare<'py>(
        self,
        py: Python<'py>,
        ready: &mut Vec<ReadyCall<'py>>,
    ) -> PyResult<()> {
        let nothing = || PyTuple::empty(py).into_any();
        match self {
            Self::Plain(callable) => ready.push((callable, nothing())),
            Self::Lost(watch) => {
                ready.extend(
                    watch
                        .take(py)
                        .into_iter()
                        .map(|callable| (callable, nothing())),
                );
            }
            Self::Ready { callable, args } => ready.push((callable, args.into_bound(py))),
            Self::Ended {
                callable,
                outcome,
                peer,
            } => {
                let error = match outcome {
                    Ok(()) => None,
                    Err(status) => Some(errors::rpc_error(py, &status, Some(&peer))?),
                };
                ready.push((callable, (error,).into_bound_py_any(py)?));
            }
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Callback>,
    closed: bool,
}

/// The queue between those whose calls ended and the thread that tells so.
#[derive(Debug, Default)]
pub(super) struct Callbacks {
    queue: Mutex<Queue>,
    filled: Condvar,
}

impl Callbacks {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one to the end.
    pub(super) fn post(&self, callback: Callback) {
        self.queue().waiting.push_back(callback);
        self.filled.notify_one();
    }

    /// Waits for callbacks and takes all there are; `None` when closed and empty.
    pub(super) fn take(&self) -> Option<VecDeque<Callback>> {
        let mut queue = self
            .filled
            .wait_while(self.queue(), |queue| {
                queue.waiting.is_empty() && !queue.closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        if queue.waiting.is_empty() {
            None
        } else {
            Some(std::mem::take(&mut queue.waiting))
        }
    }

    /// Lets the thread go once nothing is left.
    pub(super) fn close(&self) {
        self.queue().closed = true;
        self.filled.notify_all();
    }
}
