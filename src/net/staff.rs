//! The staff: which threads are workers, and whether they have the CPUs that they want.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::call::Workforce;
use crate::net::connection::locked;

/// The threads that work for one runtime, whichever processor they take lanes from.
#[derive(Debug)]
pub(super) struct Staff {
    /// That this process may use.
    cpus: usize,
    threads: Mutex<Vec<Arc<Worker>>>,
}

#[derive(Debug)]
struct Worker {
    /// Where the kernel tells of it: `self/task/TID/stat` below `/proc`.
    path: String,
    visits: AtomicBool,
}

impl Default for Staff {
    fn default() -> Self {
        Self {
            cpus: thread::available_parallelism().map_or(1, usize::from),
            threads: Mutex::default(),
        }
    }
}

impl Staff {
    /// Whether one CPU is all there is.
    pub(super) fn has_one_cpu(&self) -> bool {
        self.cpus == 1
    }

    /// The calling thread works from now on, until this is dropped.
    pub(super) fn join(&self) -> Option<Member<'_>> {
        // Elsewhere than on Linux there is no such thing, and nothing is known of a thread.
        let own = fs::read_link("/proc/thread-self").ok()?;
        let worker = Arc::new(Worker {
            path: format!("/proc/self/task/{}/stat", own.file_name()?.to_str()?),
            visits: AtomicBool::new(false),
        });
        locked(&self.threads).push(Arc::clone(&worker));
        Some(Member {
            staff: self,
            worker,
        })
    }
}

impl Workforce for Staff {
    fn fills_cpus(&self) -> bool {
        let threads = locked(&self.threads);
        threads
            .iter()
            .filter(|worker| worker.runs())
            .take(self.cpus)
            .count()
            == self.cpus
    }

    fn is_asleep(&self) -> bool {
        let threads = locked(&self.threads);
        let visitors = threads
            .iter()
            .filter(|worker| worker.visits.load(Ordering::Relaxed));
        let mut awake = visitors.map(|worker| worker.runs()).peekable();
        awake.peek().is_some() && !awake.any(|runs| runs)
    }
}

impl Worker {
    /// Whether it runs or waits for a CPU and for nothing else (`R` in proc(5)).
    fn runs(&self) -> bool {
        // The name of the thread stands before the state, and may hold anything.
        let state = |stat: String| {
            stat.rsplit_once(") ")
                .map(|(_, rest)| rest.starts_with('R'))
        };
        fs::read_to_string(&self.path).ok().and_then(state) == Some(true)
    }
}

/// A thread of the staff.
#[derive(Debug)]
pub(super) struct Member<'a> {
    staff: &'a Staff,
    worker: Arc<Worker>,
}

/// A visit of a lane by one.
#[derive(Debug)]
#[must_use]
pub(super) struct Visit<'a>(&'a Worker);

impl Member<'_> {
    /// It visits a lane until this is dropped.
    pub(super) fn visit(&self) -> Visit<'_> {
        self.worker.visits.store(true, Ordering::Relaxed);
        Visit(&self.worker)
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.0.visits.store(false, Ordering::Relaxed);
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        locked(&self.staff.threads).retain(|worker| !Arc::ptr_eq(worker, &self.worker));
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::hint;
    use std::time::{Duration, Instant};

    /// A staff for one CPU, with one worker that sleeps and then computes, which `what` looks at.
    fn with_a_worker(visits: bool, what: impl FnOnce(&Staff, &dyn Fn(bool))) -> Staff {
        let staff = Staff {
            cpus: 1,
            threads: Mutex::default(),
        };
        let (idle, spun) = (AtomicBool::new(true), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                let member = staff.join();
                let _visit = member.as_ref().filter(|_| visits).map(Member::visit);
                while idle.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(20));
                }
                while !spun.load(Ordering::SeqCst) {
                    hint::spin_loop();
                }
            });
            what(&staff, &|sleeps| idle.store(sleeps, Ordering::SeqCst));
            spun.store(true, Ordering::SeqCst);
            idle.store(false, Ordering::SeqCst);
        });
        staff
    }

    fn becomes(look: impl Fn() -> bool, expected: bool) {
        let begun = Instant::now();
        while look() != expected {
            assert!(begun.elapsed() < Duration::from_secs(20));
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn it_is_known_who_runs_and_who_sleeps() {
        let staff = with_a_worker(true, |staff, sleeps| {
            becomes(|| staff.is_asleep(), true);
            becomes(|| staff.fills_cpus(), false);
            sleeps(false);
            becomes(|| staff.fills_cpus(), true);
            becomes(|| staff.is_asleep(), false);
        });
        assert!(!staff.fills_cpus() && !staff.is_asleep());
        assert!(locked(&staff.threads).is_empty());
    }

    #[test]
    fn who_visits_no_lane_may_sleep() {
        with_a_worker(false, |staff, _| {
            becomes(|| locked(&staff.threads).is_empty(), false);
            for _ in 0..20 {
                assert!(!staff.is_asleep());
                thread::sleep(Duration::from_millis(1));
            }
        });
    }
}
