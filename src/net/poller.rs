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
        info.lines()
            .filter_map(|line| line.strip_prefix("tfd:")?.split_whitespace().next()?.parse().ok())
            .any(|number: RawFd| number == target)
    };
    fs::read_dir("/proc/self/fdinfo")
        .ok()?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let info = fs::read_to_string(entry.path()).ok()?;
            polls(&info).then_some(entry.file_name().to_str()?.parse().ok()?)
        })
        .next()
}
