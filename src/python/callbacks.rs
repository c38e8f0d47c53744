//! Ends of calls and callbacks of users, on their way to the thread that is to run them.
//!
//! A queue is emptied by a thread of ours, which waits for it, or by an event loop, which is woken
//! through a socket: so nobody who ends a call needs the GIL to say so.
//!
//! Nothing bounds a queue: each entry stands for a call that its caller has made and that has
//! ended, or for a `NotifyOnCancel` of a call that is being held anyway.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::IntoPyObjectExt as _;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::call::Ended;
use crate::python::answer;
use crate::python::watch::Watch;
use crate::status::{Code, Status};

/// One call of a callable.
#[derive(Debug)]
pub(super) enum Callback {
    /// All closures of a call that has ended or whose connection was lost.
    Watched(Arc<Watch>),
    /// `callable()`.
    Plain(Py<PyAny>),
    /// An event loop does not take its letters.
    LookAfter(Arc<Bell>),
    /// `callable(*args)`.
    Ready {
        /// What to call.
        callable: Py<PyAny>,
        /// A tuple.
        args: Py<PyAny>,
    },
    /// `callable(error, body, extras)`: how a call of ours ended.
    Ended {
        /// What to call.
        callable: Py<PyAny>,
        /// How it ended.
        end: Ended,
        /// Whom it was to.
        peer: Arc<str>,
        /// Most bytes of its response, once inflated.
        limit: usize,
    },
}

/// A callable and its arguments.
pub(super) type ReadyCall<'py> = (Py<PyAny>, Bound<'py, PyAny>);

impl Callback {
    /// Adds what is to be called to `ready`. What fails here is reported, and harms no other one.
    fn prepare<'py>(self, py: Python<'py>, ready: &mut Vec<ReadyCall<'py>>) {
        let nothing = || PyTuple::empty(py).into_any();
        match self {
            Self::Plain(callable) => ready.push((callable, nothing())),
            Self::LookAfter(bell) => ready.push((bell.look_after.clone_ref(py), nothing())),
            Self::Watched(watch) => {
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
                end,
                peer,
                limit,
            } => {
                let told = |end| answer::received(py, end, &peer, limit)?.into_bound_py_any(py);
                let args = told(end).or_else(|error| {
                    // Whoever waits for the end is to hear of one.
                    let text = format!("the end of the call cannot be told: {error}");
                    told(Ended::Failed(Status::new(Code::Internal, text)))
                });
                match args {
                    Ok(args) => ready.push((callable, args)),
                    Err(error) => error.write_unraisable(py, Some(callable.bind(py))),
                }
            }
        }
    }

    /// The same for many.
    pub(super) fn prepared(py: Python<'_>, callbacks: VecDeque<Self>) -> Vec<ReadyCall<'_>> {
        let mut ready = Vec::new();
        for callback in callbacks {
            callback.prepare(py, &mut ready);
        }
        ready
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Callback>,
    closed: bool,
    /// What wakes an event loop; none where a thread waits, or the loop has left.
    bell: Option<Arc<Bell>>,
    /// Who gets what comes from now on.
    heir: Option<Arc<Callbacks>>,
}

/// How long letters may lie before somebody looks after the event loop that is to take them.
const OVERDUE: Duration = Duration::from_secs(1);

/// What wakes an event loop.
#[derive(Debug)]
pub(super) struct Bell {
    /// Of a socket at whose other end the loop listens.
    pub(super) socket: File,
    /// Where time is kept.
    pub(super) runtime: Handle,
    /// Whose thread looks after loops that do not answer.
    pub(super) process: Arc<Callbacks>,
    /// Called there.
    pub(super) look_after: Py<PyAny>,
}

/// The queue between those whose calls ended and the one that tells so.
#[derive(Debug, Default)]
pub(super) struct Callbacks {
    queue: Mutex<Queue>,
    filled: Condvar,
    /// Somebody will look whether letters lie for too long.
    watched: AtomicBool,
}

impl Callbacks {
    /// A queue for the event loop that hears `bell`.
    pub(super) fn ringing(bell: Bell) -> Self {
        let queue = Queue {
            bell: Some(Arc::new(bell)),
            ..Queue::default()
        };
        Self {
            queue: Mutex::new(queue),
            ..Self::default()
        }
    }

    /// Gives what is there and what will come to `heir`, and lets go of the bell.
    pub(super) fn pass_on(&self, heir: &Arc<Self>) {
        let (waiting, bell) = {
            let mut queue = self.queue();
            queue.heir = Some(Arc::clone(heir));
            (std::mem::take(&mut queue.waiting), queue.bell.take())
        };
        drop(bell);
        for callback in waiting {
            heir.post(callback);
        }
    }

    /// Has the thread of the process look after the event loop as long as letters lie there.
    fn watch(self: &Arc<Self>, runtime: &Handle) {
        if self.watched.swap(true, Ordering::AcqRel) {
            return;
        }
        // It holds no descriptor of a loop that has left meanwhile.
        let letters = Arc::downgrade(self);
        runtime.spawn(async move {
            loop {
                sleep(OVERDUE).await;
                let Some(letters) = letters.upgrade() else {
                    return;
                };
                letters.watched.store(false, Ordering::Release);
                let bell = {
                    let queue = letters.queue();
                    queue.bell.clone().filter(|_| !queue.waiting.is_empty())
                };
                let Some(bell) = bell else {
                    return;
                };
                let process = Arc::clone(&bell.process);
                process.post(Callback::LookAfter(bell));
                letters.watched.store(true, Ordering::Release);
            }
        });
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one to the end.
    pub(super) fn post(self: &Arc<Self>, callback: Callback) {
        let mut queue = self.queue();
        if let Some(heir) = &queue.heir {
            let heir = Arc::clone(heir);
            drop(queue);
            return heir.post(callback);
        }
        let first = queue.waiting.is_empty();
        let bell = queue.bell.clone();
        queue.waiting.push_back(callback);
        drop(queue);
        match bell {
            None => self.filled.notify_one(),
            Some(bell) if first => {
                // It fails when the loop is closed, which shows when the letters are overdue, or
                // when the socket is full of rings that the loop will hear.
                drop((&bell.socket).write(&[1]));
                self.watch(&bell.runtime);
            }
            Some(_) => {}
        }
    }

    /// Takes all there are, without waiting.
    pub(super) fn take_now(&self) -> VecDeque<Callback> {
        std::mem::take(&mut self.queue().waiting)
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
