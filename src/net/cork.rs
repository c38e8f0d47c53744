//! The cork: what one thread has to write while it runs a batch is held back until its end, so that
//! each connection is written once.

use std::cell::Cell;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Weak};

use crate::net::connection::{Connection, locked};

/// Bytes after which a thread has written enough for one turn.
const ENOUGH_BYTES: usize = 64 * 1024;

thread_local! {
    static HOLDS_BACK: Cell<bool> = const { Cell::new(false) };
    /// Bytes of this thread that were not held back in this turn.
    static WRITTEN: Cell<usize> = const { Cell::new(0) };
}

/// Whether frames of this thread are held back.
pub(super) fn holds_back() -> bool {
    HOLDS_BACK.get()
}

/// Has frames of this thread held back from now on, or no longer. Who holds back flushes before it
/// waits for anything.
pub fn hold_back(holds: bool) {
    HOLDS_BACK.set(holds);
}

/// This thread has written `bytes` at once; where it holds back, they were too many for that.
pub(super) fn wrote(bytes: usize) {
    WRITTEN.set(WRITTEN.get() + bytes);
}

/// Whether this thread has written so much since [`begin_turn`] that it is the turn of others.
pub(super) fn wrote_enough() -> bool {
    WRITTEN.get() >= ENOUGH_BYTES
}

/// What this thread has written so far counts no more.
pub(super) fn begin_turn() {
    WRITTEN.set(0);
}

/// Does `work`, whose frames are held back; somebody will flush them.
pub fn holding_back<T>(work: impl FnOnce() -> T) -> T {
    let before = HOLDS_BACK.replace(true);
    let done = work();
    HOLDS_BACK.set(before);
    done
}

/// The connections of one runtime that have something held back.
#[derive(Debug, Default)]
pub(super) struct Cork {
    touched: Mutex<Vec<Weak<Connection>>>,
    /// There are some.
    filled: AtomicBool,
}

impl Cork {
    /// Keeps a connection for the next flush; says whether it is the first one.
    pub(super) fn touch(&self, connection: Weak<Connection>) -> bool {
        locked(&self.touched).push(connection);
        !self.filled.swap(true, Ordering::SeqCst)
    }

    /// Whether nothing is held back.
    pub(super) fn is_empty(&self) -> bool {
        !self.filled.load(Ordering::SeqCst)
    }

    /// Writes what is held back, whoever held it.
    pub(super) fn flush(&self) {
        if !self.filled.swap(false, Ordering::SeqCst) {
            return;
        }
        let touched = mem::take(&mut *locked(&self.touched));
        for connection in touched.iter().filter_map(Weak::upgrade) {
            connection.uncork();
        }
    }
}
