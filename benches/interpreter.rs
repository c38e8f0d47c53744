//! What the way into the interpreter costs, each part by itself: attach, wake, allocate, call.

#![allow(unsafe_code)]

use std::hint::black_box;
use std::sync::mpsc::sync_channel;
use std::thread;

use criterion::{Criterion, criterion_group, criterion_main};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use pyo3::{ffi, intern};

/// As large as the controller of a call.
#[pyclass(frozen, weakref)]
struct Large {
    _fields: [u64; 16],
}

/// Calls a handler of three arguments, in a copy of a context of its own: as the core does it, and as
/// the stable ABI of 3.10 would have it done, which has neither calls without a tuple nor contexts.
fn handler(criterion: &mut Criterion, py: Python<'_>) {
    let made = (|| {
        let handler = py.eval(c"lambda controller, request, done: None", None, None)?;
        let context = py.import("contextvars")?.call_method0("copy_context")?;
        PyResult::Ok((handler, context))
    })();
    let (handler, context) = made.expect("they are made");
    let args = [0, 1, 2].map(|_| py.None());
    criterion.bench_function("a handler in a context", |bencher| {
        bencher.iter(|| {
            // SAFETY: all that is pointed to is live, the thread is attached, and each new reference
            // becomes a `Bound` that owns it.
            unsafe {
                let copy = ffi::PyContext_Copy(context.as_ptr());
                let copy = Bound::from_owned_ptr(py, copy);
                assert_eq!(ffi::PyContext_Enter(copy.as_ptr()), 0);
                let args = [
                    std::ptr::null_mut(),
                    args[0].as_ptr(),
                    args[1].as_ptr(),
                    args[2].as_ptr(),
                ];
                let result = ffi::PyObject_VectorcallDict(
                    handler.as_ptr(),
                    args.as_ptr().add(1),
                    3 | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET,
                    std::ptr::null_mut(),
                );
                let result = Bound::from_owned_ptr(py, result);
                assert_eq!(ffi::PyContext_Exit(copy.as_ptr()), 0);
                result
            }
        });
    });
    criterion.bench_function("a handler in a context, by the stable ABI", |bencher| {
        bencher.iter(|| {
            let copy = context.call_method0(intern!(py, "copy"))?;
            let args = (&handler, &args[0], &args[1], &args[2]);
            copy.getattr(intern!(py, "run"))?
                .call1(args.into_pyobject(py)?)
        });
    });
}

fn interpreter(criterion: &mut Criterion) {
    Python::initialize();
    criterion.bench_function("attach and detach", |bencher| {
        bencher.iter(|| Python::attach(|py| black_box(py.None())));
    });
    Python::attach(|py| {
        criterion.bench_function("attach, attached already", |bencher| {
            bencher.iter(|| Python::attach(|py| black_box(py.None())));
        });
        criterion.bench_function("detach and attach", |bencher| {
            bencher.iter(|| py.detach(|| black_box(7)));
        });
        criterion.bench_function("bytes of 16 B", |bencher| {
            bencher.iter(|| PyBytes::new(py, black_box(b"sixteen bytes ..")));
        });
        criterion.bench_function("a tuple of three", |bencher| {
            let none = py.None();
            bencher.iter(|| PyTuple::new(py, [&none, &none, &none]));
        });
        criterion.bench_function("an object of 128 B", |bencher| {
            let fields = [7; 16];
            bencher.iter(|| Bound::new(py, Large { _fields: fields }));
        });
        handler(criterion, py);
    });
    criterion.bench_function("box of 128 B", |bencher| {
        bencher.iter(|| Box::new(black_box([7_u64; 16])));
    });
    criterion.bench_function("wake a thread and be woken", |bencher| {
        let (there, here) = sync_channel::<()>(1);
        let (back, woken) = sync_channel::<()>(1);
        let echo = thread::spawn(
            move || {
                while here.recv().is_ok() && back.send(()).is_ok() {}
            },
        );
        bencher.iter(|| {
            there.send(()).expect("the other thread is there");
            woken.recv().expect("the other thread answers");
        });
        drop(there);
        echo.join().expect("it ends");
    });
}

criterion_group!(benches, interpreter);
criterion_main!(benches);
