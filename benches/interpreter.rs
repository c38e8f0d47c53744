//! What the way into the interpreter costs, each part by itself: attach, wake, allocate.

use std::hint::black_box;
use std::sync::mpsc::sync_channel;
use std::thread;

use criterion::{Criterion, criterion_group, criterion_main};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

/// As large as the controller of a call.
#[pyclass(frozen, weakref)]
struct Large {
    _fields: [u64; 16],
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
