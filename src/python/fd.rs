//! Sockets handed over by number.

#![allow(unsafe_code)]

use std::os::fd::{FromRawFd as _, OwnedFd};

/// Takes over a file descriptor that Python duplicated for us.
pub(super) fn take(fd: i32) -> OwnedFd {
    // SAFETY: the only caller passes the result of `os.dup`, which nobody else knows or closes.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
