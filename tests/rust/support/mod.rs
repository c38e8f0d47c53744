//! What the tests on sockets share: a house with everything but Python in it, peers that speak
//! with it byte by byte, and sessions that write down what they are given.

// Each test file is a crate of its own, and none uses all of this.
#![allow(dead_code, unused_imports)]

mod calls;
mod desk;
mod house;
mod notes;
mod peer;
mod place;
mod scene;
mod secure;
mod talker;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use _core::net::address::Address;

pub(crate) use calls::{Calls, call, done, outbound};
pub(crate) use desk::{Desk, Happened, KEEP, SECRET, method, registry};
pub(crate) use house::{House, Setup, WORKERS, baidu, hulu, indexed, sofa};
pub(crate) use notes::{Gate, Mourner, Notes, Seen};
pub(crate) use peer::{Peer, frame};
pub(crate) use place::{Place, all, by_id, credential, greeting, in_order, payload, reset};
pub(crate) use scene::{GRACE, NO_LIMIT, Scene, patient};
pub(crate) use secure::{ByHand, Secrets, SecurePlace, connect, rest};
pub(crate) use talker::Talker;

/// The method that only notes what it was given.
pub(crate) const NOTE: u16 = 0;
/// The method that answers with its body; where there are no answers, it sends it back as a call
/// of the peer's method 0.
pub(crate) const ECHO: u16 = 1;
/// The method that waits for the gate, then echoes.
pub(crate) const WAIT: u16 = 2;

pub(crate) const ENOSERVICE: i32 = 1001;
pub(crate) const ENOMETHOD: i32 = 1002;
pub(crate) const EREQUEST: i32 = 1003;
pub(crate) const ERPCAUTH: i32 = 1004;
pub(crate) const ERPCTIMEDOUT: i32 = 1008;
pub(crate) const ERESPONSE: i32 = 2002;
pub(crate) const ELOGOFF: i32 = 2003;
pub(crate) const ELIMIT: i32 = 2004;

/// More than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    eventually_within(PATIENCE, what, condition);
}

/// The same with less patience.
#[track_caller]
pub(crate) fn eventually_within(limit: Duration, what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "never: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A folder that goes away with its value.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("callmethod-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The address of a Unix socket in it.
    pub(crate) fn address(&self) -> Address {
        Address::Unix(self.file("socket"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left lies in the system's folder for such things.
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn loopback() -> Address {
    "127.0.0.1:0".parse().unwrap()
}

/// Whether nobody listens at a path any more.
pub(crate) fn is_gone(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err()
}

/// The number as a body that sorts by it.
pub(crate) fn numbered(number: u32) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

/// The same with so many bytes behind it.
pub(crate) fn padded(number: u32, more: usize) -> Vec<u8> {
    let mut body = numbered(number);
    body.resize(body.len() + more, 7);
    body
}

/// The number in such a body.
#[track_caller]
pub(crate) fn number_in(body: &[u8]) -> u32 {
    u32::from_be_bytes(body[..4].try_into().unwrap())
}
