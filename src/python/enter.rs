//! The one way from our frames into Python code.
//!
//! When the interpreter exits while a thread runs Python code, `CPython` before 3.14 ends that
//! thread by a forced unwind as soon as it asks for the GIL again. Passing a Rust frame that may
//! not unwind, it would abort the process. So every call of ours into Python code is made through
//! a declaration that may unwind, inside a guard that parks the thread for good instead: the
//! process is about to end, and nothing of the thread's is touched any more. PyO3 does the same
//! where it attaches a thread, but not where it calls.
//!
//! What cannot be guarded so is Python code that runs where nobody called it: a finalizer that a
//! garbage collection starts, or the release of a last reference elsewhere. Against that there is a
//! gate: once the interpreter is about to exit, a thread that comes to us parks before it does
//! anything, as `CPython` itself would end it a moment later.

#![allow(unsafe_code)]

use std::mem;
use std::sync::OnceLock;
use std::thread::{self, ThreadId};

use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

unsafe extern "C-unwind" {
    fn PyObject_CallObject(callable: *mut PyObject, args: *mut PyObject) -> *mut PyObject;
    fn Py_DecRef(object: *mut PyObject);
}

/// Parks the thread when it is unwound; never dropped otherwise.
struct ParkWhenUnwound;

impl Drop for ParkWhenUnwound {
    fn drop(&mut self) {
        loop {
            thread::park();
        }
    }
}

/// The thread on which the interpreter exits, once it does.
static EXITING: OnceLock<ThreadId> = OnceLock::new();

/// Closes the gate: from now on only the calling thread gets through.
pub(super) fn close_gate() {
    // A second exit of one process cannot be.
    let _ = EXITING.set(thread::current().id());
}

/// Lets the thread through unless the interpreter is about to exit on another one.
///
/// Everything that Python calls from a thread which may be running then begins with this.
pub(super) fn gate(py: Python<'_>) {
    if EXITING
        .get()
        .is_some_and(|&exiting| exiting != thread::current().id())
    {
        py.detach(|| drop(ParkWhenUnwound));
    }
}

/// Calls `callable(*args)`.
pub(super) fn call<'py, A>(callable: &Bound<'py, PyAny>, args: A) -> PyResult<Bound<'py, PyAny>>
where
    A: IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error: Into<PyErr>>,
{
    let py = callable.py();
    let args = args.into_pyobject(py).map_err(Into::into)?;
    let guard = ParkWhenUnwound;
    // SAFETY: both pointers are live for the call, since `callable` and `args` are; the thread is
    // attached, as the token shows.
    let result = unsafe { PyObject_CallObject(callable.as_ptr(), args.as_ptr()) };
    mem::forget(guard);
    // SAFETY: the result is a new reference, or null with an error set.
    let result = unsafe { Bound::from_owned_ptr_or_err(py, result) };
    release(args.into_any());
    result
}

/// Lets go of an object of the user's, whose finalizer may be Python code.
pub(super) fn release(object: Bound<'_, PyAny>) {
    let guard = ParkWhenUnwound;
    // SAFETY: the reference is ours to give up; the thread is attached, as `object` shows.
    unsafe { Py_DecRef(object.into_ptr()) };
    mem::forget(guard);
}
