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

use std::ffi::c_int;
use std::mem;
use std::ptr;
use std::sync::OnceLock;
use std::thread::{self, ThreadId};

use pyo3::ffi::{PY_VECTORCALL_ARGUMENTS_OFFSET, PyCoro_CheckExact, PyObject, PySendResult};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

unsafe extern "C-unwind" {
    fn PyObject_Call(
        callable: *mut PyObject,
        args: *mut PyObject,
        kwargs: *mut PyObject,
    ) -> *mut PyObject;
    // Of the ways to call without a tuple, the one that every CPython exports.
    fn PyObject_VectorcallDict(
        callable: *mut PyObject,
        args: *const *mut PyObject,
        nargsf: usize,
        kwargs: *mut PyObject,
    ) -> *mut PyObject;
    fn PyObject_VectorcallMethod(
        name: *mut PyObject,
        args: *const *mut PyObject,
        nargsf: usize,
        kwnames: *mut PyObject,
    ) -> *mut PyObject;
    fn PyIter_Send(
        iterator: *mut PyObject,
        value: *mut PyObject,
        result: *mut *mut PyObject,
    ) -> PySendResult;
    fn PyContext_Copy(context: *mut PyObject) -> *mut PyObject;
    fn PyContext_Enter(context: *mut PyObject) -> c_int;
    fn PyContext_Exit(context: *mut PyObject) -> c_int;
    fn PyContextVar_Get(
        variable: *mut PyObject,
        default: *mut PyObject,
        value: *mut *mut PyObject,
    ) -> c_int;
    fn PyContextVar_Set(variable: *mut PyObject, value: *mut PyObject) -> *mut PyObject;
    fn Py_DecRef(object: *mut PyObject);
}

/// Most arguments of [`apply`].
const MOST_ARGS: usize = 3;

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
    let args = args.into_pyobject(callable.py()).map_err(Into::into)?;
    call_tuple(callable, args, None)
}

/// Calls `callable(*args, **kwargs)`.
pub(super) fn call_with<'py, A>(
    callable: &Bound<'py, PyAny>,
    args: A,
    kwargs: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>>
where
    A: IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error: Into<PyErr>>,
{
    let args = args.into_pyobject(callable.py()).map_err(Into::into)?;
    call_tuple(callable, args, Some(kwargs))
}

fn call_tuple<'py>(
    callable: &Bound<'py, PyAny>,
    args: Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = callable.py();
    let kwargs = kwargs.map_or(ptr::null_mut(), Bound::as_ptr);
    let guard = ParkWhenUnwound;
    // SAFETY: the callable and the arguments are live for the call, since they are borrowed or
    // ours, and no keywords are a null pointer; the thread is attached, as the token shows.
    let result = unsafe { PyObject_Call(callable.as_ptr(), args.as_ptr(), kwargs) };
    mem::forget(guard);
    // SAFETY: the result is a new reference, or null with an error set.
    let result = unsafe { Bound::from_owned_ptr_or_err(py, result) };
    release(args.into_any());
    result
}

/// Calls `callable(*args)` without making a tuple; at most three arguments.
pub(super) fn apply<'py>(
    callable: &Bound<'py, PyAny>,
    args: &[&Bound<'py, PyAny>],
) -> PyResult<Bound<'py, PyAny>> {
    debug_assert!(args.len() <= MOST_ARGS);
    // The place before the arguments is for the callee: a bound method puts its object there.
    let mut pointers = [ptr::null_mut(); 1 + MOST_ARGS];
    for (pointer, arg) in pointers.iter_mut().skip(1).zip(args) {
        *pointer = arg.as_ptr();
    }
    let count = args.len().min(MOST_ARGS) | PY_VECTORCALL_ARGUMENTS_OFFSET;
    let guard = ParkWhenUnwound;
    // SAFETY: the callable and the arguments are live for the call, since they are borrowed; there
    // is a writable place before the first one; the thread is attached, as the token shows.
    let result = unsafe {
        let first = pointers.as_ptr().add(1);
        PyObject_VectorcallDict(callable.as_ptr(), first, count, ptr::null_mut())
    };
    mem::forget(guard);
    // SAFETY: the result is a new reference, or null with an error set.
    unsafe { Bound::from_owned_ptr_or_err(callable.py(), result) }
}

/// Calls the method `name` of `object` with at most two arguments.
pub(super) fn call_method<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
    args: &[&Bound<'py, PyAny>],
) -> PyResult<Bound<'py, PyAny>> {
    debug_assert!(args.len() < MOST_ARGS);
    let mut pointers = [ptr::null_mut(); 1 + MOST_ARGS];
    for (pointer, arg) in pointers
        .iter_mut()
        .skip(1)
        .zip([&object].into_iter().chain(args))
    {
        *pointer = arg.as_ptr();
    }
    let count = (1 + args.len()).min(MOST_ARGS) | PY_VECTORCALL_ARGUMENTS_OFFSET;
    let guard = ParkWhenUnwound;
    // SAFETY: as in `apply`; the object stands where the first argument does.
    let result = unsafe {
        let first = pointers.as_ptr().add(1);
        PyObject_VectorcallMethod(name.as_ptr(), first, count, ptr::null_mut())
    };
    mem::forget(guard);
    // SAFETY: the result is a new reference, or null with an error set.
    unsafe { Bound::from_owned_ptr_or_err(object.py(), result) }
}

/// What a step of a coroutine gave.
pub(super) enum Sent<'py> {
    /// It waits.
    Yielded(Bound<'py, PyAny>),
    /// It has ended.
    Returned(Bound<'py, PyAny>),
}

/// Makes a step of a coroutine.
pub(super) fn send<'py>(
    coroutine: &Bound<'py, PyAny>,
    value: &Bound<'py, PyAny>,
) -> PyResult<Sent<'py>> {
    let py = coroutine.py();
    let mut result = ptr::null_mut();
    let guard = ParkWhenUnwound;
    // SAFETY: both are live for the call and the thread is attached; the result is a new reference
    // unless there was an error.
    let sent = unsafe { PyIter_Send(coroutine.as_ptr(), value.as_ptr(), &raw mut result) };
    mem::forget(guard);
    // SAFETY: as above; null with an error set is an error.
    let result = unsafe { Bound::from_owned_ptr_or_err(py, result) }?;
    Ok(match sent {
        PySendResult::PYGEN_NEXT => Sent::Yielded(result),
        _ => Sent::Returned(result),
    })
}

/// What an awaitable is stepped through by.
pub(super) fn awaited<'py>(awaitable: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: the object is live, and only its type is looked at.
    if unsafe { PyCoro_CheckExact(awaitable.as_ptr()) } != 0 {
        return Ok(awaitable.clone());
    }
    call_method(awaitable, intern!(awaitable.py(), "__await__"), &[])
}

/// A context that the thread is in, until dropped.
struct Inside<'a, 'py>(&'a Bound<'py, PyAny>);

impl Drop for Inside<'_, '_> {
    fn drop(&mut self) {
        // SAFETY: the context is live, and the thread is attached, as the token in it shows. It
        // fails for a context that the thread is not in; then there is nothing to leave.
        if unsafe { PyContext_Exit(self.0.as_ptr()) } != 0 {
            drop(PyErr::take(self.0.py()));
        }
    }
}

/// Does `work` in a copy of `context`, a `contextvars.Context`, and gives the copy too.
pub(super) fn in_copy<'py, T>(
    context: &Bound<'py, PyAny>,
    work: impl FnOnce() -> PyResult<T>,
) -> PyResult<(Bound<'py, PyAny>, T)> {
    let py = context.py();
    // SAFETY: `context` is live and the thread attached; the result is a new reference, or null
    // with an error set, which it is for everything that is no context.
    let copy = unsafe { Bound::from_owned_ptr_or_err(py, PyContext_Copy(context.as_ptr()))? };
    // SAFETY: `copy` is live and the thread attached.
    if unsafe { PyContext_Enter(copy.as_ptr()) } != 0 {
        return Err(PyErr::fetch(py));
    }
    let inside = Inside(&copy);
    let done = work();
    drop(inside);
    Ok((copy, done?))
}

/// Sets a `contextvars.ContextVar` in the context that the thread is in.
pub(super) fn set_variable<'py>(
    variable: &Bound<'py, PyAny>,
    value: &Bound<'py, PyAny>,
) -> PyResult<()> {
    // SAFETY: both are live and the thread is attached; the result is a new reference, or null
    // with an error set, which it is for everything that is no variable.
    let token = unsafe {
        let token = PyContextVar_Set(variable.as_ptr(), value.as_ptr());
        Bound::from_owned_ptr_or_err(variable.py(), token)?
    };
    drop(token);
    Ok(())
}

/// What a `contextvars.ContextVar` is in the context that the thread is in, or its default.
pub(super) fn variable<'py>(variable: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = variable.py();
    let mut value = ptr::null_mut();
    // SAFETY: the variable is live and the thread attached; what is not null afterwards is a new
    // reference.
    unsafe {
        if PyContextVar_Get(variable.as_ptr(), ptr::null_mut(), &raw mut value) != 0 {
            return Err(PyErr::fetch(py));
        }
        Ok(Bound::from_owned_ptr_or_opt(py, value))
    }
}

/// Lets go of an object of the user's, whose finalizer may be Python code.
pub(super) fn release(object: Bound<'_, PyAny>) {
    let guard = ParkWhenUnwound;
    // SAFETY: the reference is ours to give up; the thread is attached, as `object` shows.
    unsafe { Py_DecRef(object.into_ptr()) };
    mem::forget(guard);
}
