//! Sockets handed over by number.

#![allow(unsafe_code)]

use std::os::fd::{FromRawFd as _, OwnedFd};

/// Takes over a file descriptor that Python gave up to us.
pub(super) fn take(fd: i32) -> OwnedFd {
    // SAFETY: callers pass the result of `os.dup` or `socket.detach`, which nobody else closes.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
