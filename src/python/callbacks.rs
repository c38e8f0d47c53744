//! Ends of calls and callbacks of users, on their way to the thread that is to run them.
//!
//! A queue is emptied by a thread of ours, which waits for it, or by an event loop, which is woken
//! through a socket: so nobody who ends a call needs the GIL to say so.
//!
//! Nothing bounds a queue: each entry stands for a call that its caller has made and that has
//! ended, or for a `NotifyOnCancel` of a call that is being held anyway.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fs::File;
use std::future::poll_fn;
use std::io::Write as _;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pyo3::IntoPyObjectExt as _;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::call::Ended;
use crate::net::Driver;
use crate::python::plain::Reply;
use crate::python::watch::Watch;
use crate::python::{answer, enter};
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
    /// `done(response)`, or `done(None)`: how one without a controller ended.
    Replied {
        /// What to call.
        done: Py<PyAny>,
        /// What came back.
        reply: Reply,
        /// Let go of only now.
        channel: Py<PyAny>,
    },
    /// An `asyncio.Future` of one without a controller.
    Awaited {
        /// Who waits.
        future: Py<PyAny>,
        /// What came back.
        reply: Reply,
        /// Let go of only now.
        channel: Py<PyAny>,
    },
}

/// A callable and its arguments.
pub(super) type ReadyCall<'py> = (Py<PyAny>, Bound<'py, PyAny>);

impl Callback {
    /// Adds what is to be called to `ready`; with `on_loop`, by the event loop that made the call.
    /// What fails here is reported, and harms no other one.
    fn prepare<'py>(self, py: Python<'py>, on_loop: bool, ready: &mut Vec<ReadyCall<'py>>) {
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
            Self::Replied {
                done,
                reply,
                channel,
            } => {
                match PyTuple::new(py, [reply.response_or_none(py)]) {
                    Ok(args) => ready.push((done, args.into_any())),
                    Err(error) => error.write_unraisable(py, Some(done.bind(py))),
                }
                enter::release(channel.into_bound(py));
            }
            Self::Awaited {
                future,
                reply,
                channel,
            } => {
                // Of a loop that is closed, nobody waits for the future.
                if on_loop && let Err(error) = reply.settle(future.bind(py)) {
                    error.write_unraisable(py, Some(future.bind(py)));
                }
                enter::release(channel.into_bound(py));
            }
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

    /// Calls it, by `run(callable, args)` or by itself.
    /// What these two raise themselves is reported, and harms no other callback.
    pub(super) fn run(self, run: &Bound<'_, PyAny>, failed: &Bound<'_, PyAny>) {
        let py = run.py();
        let reported = |told: PyResult<Bound<'_, PyAny>>| {
            if let Err(error) = told {
                error.write_unraisable(py, None);
            }
        };
        match self {
            Self::Replied {
                done,
                reply,
                channel,
            } => {
                let (done, response) = (done.into_bound(py), reply.response_or_none(py));
                enter::release(channel.into_bound(py));
                let ran = enter::apply(&done, &[&response]);
                enter::release(response);
                enter::release(done);
                match ran {
                    Ok(result) => enter::release(result),
                    Err(error) => reported(enter::call(failed, (error.into_value(py),))),
                }
            }
            other => {
                let mut ready = Vec::new();
                other.prepare(py, false, &mut ready);
                for call in ready {
                    reported(enter::call(run, call));
                }
            }
        }
    }

    /// What is to be called of many.
    pub(super) fn prepared(
        py: Python<'_>,
        on_loop: bool,
        callbacks: VecDeque<Self>,
    ) -> Vec<ReadyCall<'_>> {
        let mut ready = Vec::new();
        for callback in callbacks {
            callback.prepare(py, on_loop, &mut ready);
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
    /// Tells the thread that waits, while it moves bytes.
    waker: Option<Waker>,
}

impl Queue {
    fn is_ready(&self) -> bool {
        !self.waiting.is_empty() || self.closed
    }
}

thread_local! {
    /// The queue that this thread empties in a moment.
    static LOOKS_FOR: Cell<*const Callbacks> = const { Cell::new(ptr::null()) };
}

/// How long the thread of callbacks moves bytes when none comes.
const LINGER: Duration = Duration::from_millis(20);

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
#[derive(Debug)]
pub(super) struct Callbacks {
    driver: Arc<Driver>,
    queue: Mutex<Queue>,
    filled: Condvar,
    /// Somebody will look whether letters lie for too long.
    watched: AtomicBool,
}

impl Callbacks {
    /// A queue for the calls that `driver` moves, and for the event loop that hears `bell`.
    pub(super) fn new(driver: Arc<Driver>, bell: Option<Bell>) -> Self {
        let queue = Queue {
            bell: bell.map(Arc::new),
            ..Queue::default()
        };
        Self {
            driver,
            queue: Mutex::new(queue),
            filled: Condvar::new(),
            watched: AtomicBool::new(false),
        }
    }

    /// A call begins, or ends, whose end will be added.
    pub(super) fn expect(&self, begins: bool) {
        self.driver.expect(begins);
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
        // The others ring for nobody: who takes one letter takes all, and who looks for them will.
        let rings = first && LOOKS_FOR.get() != Arc::as_ptr(self);
        let bell = if rings { queue.bell.clone() } else { None };
        let silent = !rings && queue.bell.is_some();
        let waker = queue.waker.take();
        queue.waiting.push_back(callback);
        drop(queue);
        match bell {
            None if silent => {}
            None => match waker {
                Some(waker) => waker.wake(),
                None if first => self.filled.notify_one(),
                None => {}
            },
            Some(bell) => {
                // It fails when the loop is closed, which shows when the letters are overdue, or
                // when the socket is full of rings that the loop will hear.
                drop((&bell.socket).write(&[1]));
                self.watch(&bell.runtime);
            }
        }
    }

    /// Does `work` on a thread that takes all there are when it is done: nobody need ring for that.
    pub(super) fn unheard<T>(self: &Arc<Self>, work: impl FnOnce() -> T) -> T {
        let before = LOOKS_FOR.replace(Arc::as_ptr(self));
        let done = work();
        LOOKS_FOR.set(before);
        done
    }

    /// Takes all there are, without waiting.
    pub(super) fn take_now(&self) -> VecDeque<Callback> {
        std::mem::take(&mut self.queue().waiting)
    }

    fn poll_filled(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut queue = self.queue();
        if queue.is_ready() {
            return Poll::Ready(());
        }
        queue.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Writes what was held back, waits for callbacks and takes all there are; `None` when closed
    /// and empty. While callbacks come one after the other, this thread moves the bytes itself, so
    /// that nobody need wake it.
    pub(super) fn take(&self) -> Option<VecDeque<Callback>> {
        self.driver.flush();
        if !self.queue().is_ready() {
            let filled = poll_fn(|context| self.poll_filled(context));
            self.driver.drive_between(filled, LINGER);
        }
        let mut queue = self.queue();
        queue.waker = None;
        let mut queue = self
            .filled
            .wait_while(queue, |queue| !queue.is_ready())
            .unwrap_or_else(PoisonError::into_inner);
        if queue.waiting.is_empty() {
            None
        } else {
            Some(std::mem::take(&mut queue.waiting))
        }
    }

    /// Lets the thread go once nothing is left.
    pub(super) fn close(&self) {
        let mut queue = self.queue();
        queue.closed = true;
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
        self.filled.notify_all();
    }
}
