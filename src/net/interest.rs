//! Who waits for ends of the calls that are made here, which says who had better read them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::net::driver::Driver;

/// How many there are of each kind.
#[derive(Debug, Default)]
pub(super) struct Interest {
    /// Threads that wait for one answer each.
    threads: AtomicUsize,
    /// Calls under way whose end nobody waits for: a callback is told, or an event loop.
    expected: AtomicUsize,
    /// Event loops that listen for them.
    loops: AtomicUsize,
}

impl Interest {
    /// A thread begins to wait; says whether nobody else waits for anything.
    pub(super) fn thread_comes(&self) -> bool {
        self.threads.fetch_add(1, Ordering::SeqCst) == 0 && !self.expects()
    }

    /// It waits no longer; says whether somebody else does.
    pub(super) fn thread_goes(&self) -> bool {
        self.threads.fetch_sub(1, Ordering::SeqCst) > 1 || self.expects()
    }

    fn expects(&self) -> bool {
        self.expected.load(Ordering::SeqCst) > 0
    }

    /// A call begins, or ends, whose end nobody waits for.
    pub(super) fn expect(&self, begins: bool) {
        if begins {
            self.expected.fetch_add(1, Ordering::SeqCst);
        } else {
            self.expected.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Whether one event loop listens, and no thread waits.
    pub(super) fn is_of_one_loop(&self) -> bool {
        self.loops.load(Ordering::SeqCst) == 1 && self.threads.load(Ordering::SeqCst) == 0
    }
}

/// An event loop listens for ends of calls, until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Listening(Arc<Driver>);

impl Driver {
    /// An event loop begins to listen for ends of calls.
    pub fn listen(self: &Arc<Self>) -> Listening {
        self.interest.loops.fetch_add(1, Ordering::SeqCst);
        Listening(Arc::clone(self))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.interest.loops.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Runtime;

    #[test]
    fn a_thread_is_alone_where_nothing_is_expected_and_no_other_waits() {
        let interest = Interest::default();
        assert!(interest.thread_comes());
        assert!(!interest.thread_comes());
        assert!(interest.thread_goes());
        assert!(!interest.thread_goes());
        interest.expect(true);
        assert!(!interest.thread_comes());
        assert!(interest.thread_goes());
        interest.expect(false);
        assert!(interest.thread_comes());
    }

    #[test]
    fn a_loop_is_alone_where_no_other_listens_and_no_thread_waits() {
        let runtime = Runtime::start().unwrap();
        let driver = runtime.driver();
        let alone = || driver.interest.is_of_one_loop();
        assert!(!alone());
        let one = driver.listen();
        assert!(alone());
        let other = driver.listen();
        assert!(!alone());
        drop(one);
        assert!(alone());
        driver.interest.thread_comes();
        assert!(!alone());
        driver.interest.thread_goes();
        assert!(alone());
        drop(other);
        assert!(!alone());
    }
}
