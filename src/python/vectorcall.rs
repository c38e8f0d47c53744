//! Calls of our own objects without a tuple of arguments: vectorcall, PEP 590.
//!
//! `PyO3` gives its classes a `tp_call` and no more, for which the interpreter makes a tuple at each
//! call. An object that keeps an [`Entry`] is called through that, once its type knows where.

#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Once;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::python::enter;

/// A class whose objects are called with one positional argument or none.
pub(super) trait Called:
    pyo3::PyClass<Frozen = pyo3::pyclass::boolean_struct::True> + Sync
{
    /// Does what a call of it does.
    fn called(&self, argument: Option<&Bound<'_, PyAny>>, py: Python<'_>) -> PyResult<()>;

    /// Where it keeps its entry.
    fn entry(&self) -> &Entry<Self>;

    /// Whether the type was told.
    fn told() -> &'static Once;
}

/// What the interpreter calls.
#[derive(Debug)]
#[repr(transparent)]
pub(super) struct Entry<T>(ffi::vectorcallfunc, std::marker::PhantomData<fn(&T)>);

impl<T: Called> Entry<T> {
    pub(super) fn new() -> Self {
        Self(enter_by::<T>, std::marker::PhantomData)
    }
}

/// Tells the type of `object` where its objects keep their entries, once.
pub(super) fn tell_type<T: Called>(object: &Bound<'_, T>) {
    T::told().call_once(|| {
        let entry = ptr::from_ref(object.get().entry()) as usize;
        let offset = entry - object.as_ptr() as usize;
        let class = object.as_any().get_type().as_type_ptr();
        // SAFETY: the class is live and ours, and nobody can have derived one from it. Each of its
        // objects has a function pointer at that place for as long as it lives. The flag is set
        // last; whoever does not see it yet calls through `tp_call`, which does the same.
        unsafe {
            (*class).tp_vectorcall_offset = offset.cast_signed();
            (*class).tp_flags |= ffi::Py_TPFLAGS_HAVE_VECTORCALL;
        }
    });
}

unsafe extern "C" fn enter_by<T: Called>(
    callable: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    nargsf: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    Python::attach(|py| {
        enter::gate(py);
        let called = || {
            // SAFETY: the interpreter calls this for objects of the class alone, which keep it.
            let object =
                unsafe { Bound::from_borrowed_ptr(py, callable).cast_into_unchecked::<T>() };
            // SAFETY: it looks at the number alone.
            let count = unsafe { ffi::PyVectorcall_NARGS(nargsf) }.unsigned_abs();
            if !names.is_null() || count > 1 {
                return Err(PyTypeError::new_err(
                    "done takes the response and nothing else, by position",
                ));
            }
            // SAFETY: there is an argument, which is live for the call.
            let argument = (count == 1).then(|| unsafe { Bound::from_borrowed_ptr(py, *args) });
            let argument = argument.filter(|argument| !argument.is_none());
            object.get().called(argument.as_ref(), py)
        };
        let result = catch_unwind(AssertUnwindSafe(called));
        let result = result
            .unwrap_or_else(|_| Err(PyRuntimeError::new_err("panic in done; please report it")));
        match result {
            Ok(()) => py.None().into_ptr(),
            Err(error) => {
                error.restore(py);
                ptr::null_mut()
            }
        }
    })
}
