//! An event loop that leads, comes late, or not at all.

use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Poll, Wake};
use std::time::Duration;

use super::*;
use crate::call::processor::Woken;
use crate::call::processor::tests::{ANN, Bench, PATIENCE, poll};

/// A bell that counts.
#[derive(Default)]
struct Rings(AtomicU32);

impl Wake for Rings {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Rings {
    fn count(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A processor with an event loop.
fn hosted() -> (Bench, Arc<Rings>) {
    let (bench, rings) = (Bench::new(), Arc::<Rings>::default());
    bench.processor.host(Arc::clone(&rings).into());
    (bench, rings)
}

#[test]
fn it_is_rung_for_once_and_then_looks_before_it_goes() {
    let (bench, rings) = hosted();
    bench.fill();
    bench.fill();
    assert_eq!(rings.count(), 1);
    bench.processor.host_comes();
    bench.fill();
    for _ in 0..3 {
        assert!(bench.processor.take_as_host().is_some());
    }
    assert!(bench.processor.take_as_host().is_none());
    bench.processor.host_goes();
    assert_eq!(rings.count(), 1);
    bench.fill();
    assert_eq!(rings.count(), 2);
}

#[test]
fn who_goes_early_comes_again_at_once() {
    let (bench, rings) = hosted();
    bench.processor.host_comes();
    bench.fill();
    assert_eq!(rings.count(), 0);
    bench.processor.host_goes();
    assert_eq!(rings.count(), 1);
}

#[test]
fn whoever_led_leads_no_more_and_no_worker_does() {
    let (bench, rings) = (Bench::new(), Arc::<Rings>::default());
    assert!(bench.processor.lead(ANN));
    assert_eq!(poll(&bench.processor), Poll::Pending);
    bench.processor.host(Arc::clone(&rings).into());
    assert_eq!(poll(&bench.processor), Poll::Ready(Woken::Filled));
    assert!(!bench.processor.lead(ANN));
    bench.fill();
    assert_eq!(rings.count(), 1, "its bell is still there");
}

#[test]
fn what_was_there_before_is_seen_to() {
    let bench = Bench::new();
    assert!(bench.processor.lead(ANN));
    let heard = bench.resting(1);
    bench.fill();
    heard.recv_timeout(Duration::from_millis(50)).unwrap_err();
    bench.processor.host(Arc::<Rings>::default().into());
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(Woken::Filled));
}

#[test]
fn one_that_does_not_come_is_stood_in_for_until_it_does() {
    let (bench, rings) = hosted();
    let heard = bench.resting(2);
    bench.fill();
    bench.tick(1);
    heard.recv_timeout(Duration::from_millis(50)).unwrap_err();
    bench.tick(2);
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(Woken::Filled));
    // From now on at once.
    bench.fill();
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(Woken::Filled));
    assert_eq!(rings.count(), 1);
    bench.processor.host_comes();
    bench.processor.host_goes();
    bench.fill();
    assert_eq!(rings.count(), 2);
}

#[test]
fn one_that_gets_on_is_not_missed() {
    let (bench, _) = hosted();
    let heard = bench.resting(1);
    bench.fill();
    for ms in 0..50 {
        bench.processor.begin();
        bench.processor.leave();
        bench.processor.end();
        bench.tick(ms);
    }
    heard.recv_timeout(Duration::from_millis(50)).unwrap_err();
    bench.processor.stop();
}

#[test]
fn workers_lead_again_when_it_is_gone() {
    let (bench, rings) = hosted();
    let heard = bench.resting(1);
    bench.fill();
    bench.processor.unhost();
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(Woken::Filled));
    assert!(bench.processor.lead(ANN));
    bench.processor.host_comes();
    bench.processor.host_goes();
    assert!(bench.processor.lead(ANN), "it does not come back");
    assert_eq!(rings.count(), 1);
}

#[test]
fn an_idle_processor_with_one_is_quiet() {
    let (bench, _) = hosted();
    assert!(bench.processor.is_quiet());
    bench.processor.host_comes();
    assert!(!bench.processor.is_quiet());
    bench.processor.host_goes();
    assert!(bench.processor.is_quiet());
}
