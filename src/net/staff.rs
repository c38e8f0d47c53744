//! The staff: which threads are workers, and whether they have the CPUs that they want.

use std::fs;
use std::sync::Mutex;
use std::thread;

use crate::net::connection::locked;

/// The threads that work for one runtime, whichever processor they take lanes from.
#[derive(Debug)]
pub(super) struct Staff {
    /// That this process may use.
    cpus: usize,
    threads: Mutex<Vec<ThreadPath>>,
}

/// Where the kernel tells of a thread: `self/task/TID/stat` below `/proc`.
type ThreadPath = String;

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
        let path = format!("/proc/self/task/{}/stat", own.file_name()?.to_str()?);
        locked(&self.threads).push(path.clone());
        Some(Member { staff: self, path })
    }

    /// Whether as many workers run, or would if they had a CPU, as there are CPUs.
    pub(super) fn takes_all_cpus(&self) -> bool {
        let threads = locked(&self.threads);
        threads
            .iter()
            .filter(|path| runs(path))
            .take(self.cpus)
            .count()
            == self.cpus
    }
}

/// Whether a thread runs or waits for a CPU and for nothing else (`R` in proc(5)).
fn runs(path: &ThreadPath) -> bool {
    // The name of the thread stands before the state, and may hold anything.
    let state = |stat: String| {
        stat.rsplit_once(") ")
            .map(|(_, rest)| rest.starts_with('R'))
    };
    fs::read_to_string(path).ok().and_then(state) == Some(true)
}

/// A thread of the staff.
#[derive(Debug)]
pub(super) struct Member<'a> {
    staff: &'a Staff,
    path: ThreadPath,
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        locked(&self.staff.threads).retain(|path| *path != self.path);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::hint;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    #[test]
    fn it_is_known_who_runs_and_who_sleeps() {
        let staff = Staff {
            cpus: 1,
            threads: Mutex::default(),
        };
        let (idle, spun) = (AtomicBool::new(true), AtomicBool::new(false));
        let becomes = |expected| {
            let begun = Instant::now();
            while staff.takes_all_cpus() != expected {
                assert!(begun.elapsed() < Duration::from_secs(20));
                thread::sleep(Duration::from_millis(1));
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                let _member = staff.join();
                while idle.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(20));
                }
                while !spun.load(Ordering::SeqCst) {
                    hint::spin_loop();
                }
            });
            becomes(false);
            idle.store(false, Ordering::SeqCst);
            becomes(true);
            spun.store(true, Ordering::SeqCst);
        });
        assert!(!staff.takes_all_cpus());
        assert!(locked(&staff.threads).is_empty());
    }
}
