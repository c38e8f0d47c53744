//! One CPU to run on, so that server and load do not take it from each other.

use std::io;

use rustix::thread::{CpuSet, sched_setaffinity};

/// Has this thread run on `cpu` alone.
pub(crate) fn pin(cpu: usize) -> io::Result<()> {
    if cpu >= CpuSet::MAX_CPU {
        return Err(io::Error::other(format!("there is no CPU {cpu}")));
    }
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(None, &cpus)?;
    Ok(())
}
