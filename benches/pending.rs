//! What the pending table costs: a call in and out, with many others waiting.

use std::time::{Duration, Instant};

use _core::call::{Completed, Pending};
use criterion::{Criterion, criterion_group, criterion_main};

fn pending(criterion: &mut Criterion) {
    for waiting in [0_u64, 64, 10_000] {
        for deadlines in [false, true] {
            let deadline = deadlines.then(|| Instant::now() + Duration::from_secs(60));
            let mut table = Pending::new(false, u64::MAX, 65_536);
            for waiter in 0..waiting {
                table.insert(deadline, waiter).expect("there is room");
            }
            let kind = if deadlines {
                "deadlines"
            } else {
                "no deadlines"
            };
            let name = format!("in and out beside {waiting}, {kind}");
            criterion.bench_function(&name, |bencher| {
                bencher.iter(|| {
                    let (id, _) = table.insert(deadline, 7).expect("there is room");
                    assert_eq!(table.complete(Some(id)), Completed::Waiter(7));
                });
            });
        }
    }
}

criterion_group!(benches, pending);
criterion_main!(benches);
