//! Which descriptor the runtime polls, so that an event loop can be told when there is something to
//! read: a poller is readable itself when one of its sockets is ready (epoll(7)).

use std::fs;
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::net::UnixStream;

use tokio::net::UnixStream as Registered;
use tokio::runtime::Handle;

/// The number of the poller of this runtime, where the kernel tells what pollers look at.
pub(super) fn find(runtime: &Handle) -> Option<RawFd> {
    let _runtime = runtime.enter();
    let (ours, _other) = UnixStream::pair().ok()?;
    ours.set_nonblocking(true).ok()?;
    // No other poller knows this one.
    let registered = Registered::from_std(ours).ok()?;
    let target = registered.as_raw_fd();
    let polls = |info: &str| {
        let numbers = info.lines().filter_map(watched);
        numbers.into_iter().any(|number| number == target)
    };
    fs::read_dir("/proc/self/fdinfo").ok()?.find_map(|entry| {
        let entry = entry.ok()?;
        let info = fs::read_to_string(entry.path()).ok()?;
        let number = entry.file_name().to_str()?.parse().ok()?;
        polls(&info).then_some(number)
    })
}

/// The number of a descriptor that a poller looks at, in a line of what the kernel tells of it (see
/// `fdinfo` in proc(5)).
fn watched(line: &str) -> Option<RawFd> {
    line.strip_prefix("tfd:")?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::net::Runtime;

    #[test]
    fn each_runtime_has_its_own() {
        let runtimes = [Runtime::start().unwrap(), Runtime::start().unwrap()];
        let [one, other] = runtimes.each_ref().map(|runtime| find(&runtime.handle()));
        assert!(one.is_some() && other.is_some());
        assert_ne!(one, other);
        assert_eq!(find(&runtimes[0].handle()), one);
    }

    #[test]
    fn what_a_poller_looks_at_is_read() {
        let line = "tfd:        9 events: 8000001d data: 7f1fbbb4e6f4  pos:0 ino:2a sdev:9";
        assert_eq!(watched(line), Some(9));
        assert_eq!(watched("pos:\t0"), None);
        assert_eq!(watched("tfd: much events: 1"), None);
    }
}
