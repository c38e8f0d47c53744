//! Who drives the runtime: moves its bytes, keeps its time.
//!
//! The I/O thread does, unless a guest does so while it has nothing better to do: a worker that
//! waits for calls (see `crew.rs`). What it reads it can then run itself, and nobody need be woken
//! for it. The I/O thread stands by meanwhile. It ticks as long as something happens, and drives
//! again when the guest has been away for a whole tick: its handler takes long.
//!
//! Where there is one CPU the two would only take it from each other: there the I/O thread leaves
//! the driving to a guest that gets ahead with its calls, which sees to it between two of them.
//!
//! A runtime may be driven by one thread at a time. tokio sees to that, and hands it on when the
//! one leaves and another waits; that costs a wake-up, so the I/O thread does not wait there.

use std::future::Future;
use std::os::fd::RawFd;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::runtime::{Handle, Runtime};
use tokio::select;
use tokio::sync::{Notify, SetOnce};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use crate::call::Processor;
use crate::net::clock;
use crate::net::connection::{Connection, locked};
use crate::net::cork::Cork;
use crate::net::interest::Interest;
use crate::net::poller;
use crate::net::staff::Staff;

/// How often it is looked whether those at work make progress.
const TICK: Duration = Duration::from_millis(1);
/// Ticks in which nothing happened after which they cease until something does.
const QUIET_TICKS: u32 = 50;
/// Ticks that a guest may be away at a time: one, as a rule; and more where there is one CPU and it
/// makes progress.
const AWAY_TICKS: u32 = 1;
const AWAY_BUSY_TICKS: u32 = 4;

/// Who drives, and what the one who stands by looks after.
#[derive(Debug)]
pub struct Driver {
    /// None once it was shut down.
    runtime: RwLock<Option<Runtime>>,
    handle: Handle,
    /// The runtime is to be shut down.
    closed: SetOnce<()>,
    /// A guest drives.
    guest: AtomicBool,
    /// How often one has stopped doing so.
    outings: AtomicU64,
    /// Frames that were read so far.
    frames: AtomicU64,
    /// The I/O thread drives.
    attended: AtomicBool,
    /// Tells it to leave that to a guest.
    recall: Notify,
    /// Held by it meanwhile.
    seat: Mutex<()>,
    /// Tells it to drive at once.
    wanted: AtomicBool,
    pub(super) interest: Interest,
    /// What it polls, looked up at the first need.
    poller: OnceLock<Option<RawFd>>,
    /// No ticks, until stirred.
    dozing: AtomicBool,
    /// Tells the I/O thread that, while it drives; otherwise it is unparked.
    stirred: Notify,
    thread: OnceLock<Thread>,
    cork: Cork,
    pub(super) staff: Staff,
    processors: Mutex<Vec<Weak<Processor>>>,
}

impl Driver {
    /// Nobody drives `runtime` yet.
    #[must_use]
    pub fn new(runtime: Runtime) -> Arc<Self> {
        Arc::new(Self {
            handle: runtime.handle().clone(),
            runtime: RwLock::new(Some(runtime)),
            closed: SetOnce::new(),
            guest: AtomicBool::new(false),
            outings: AtomicU64::new(0),
            frames: AtomicU64::new(0),
            attended: AtomicBool::new(false),
            recall: Notify::new(),
            seat: Mutex::default(),
            wanted: AtomicBool::new(false),
            interest: Interest::default(),
            poller: OnceLock::new(),
            dozing: AtomicBool::new(false),
            stirred: Notify::new(),
            thread: OnceLock::new(),
            cork: Cork::default(),
            staff: Staff::default(),
            processors: Mutex::default(),
        })
    }

    /// Where tasks are started; does not keep the runtime.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Looks from now on whether the workers of `processor` make progress.
    pub fn watch(&self, processor: &Arc<Processor>) {
        let mut processors = locked(&self.processors);
        processors.retain(|other| other.strong_count() > 0);
        processors.push(Arc::downgrade(processor));
    }

    /// Frames were read.
    pub(super) fn count_frames(&self, frames: u64) {
        self.frames.fetch_add(frames, Ordering::Relaxed);
    }

    /// How many were read so far.
    pub(super) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// Writes what threads have held back.
    pub fn flush(&self) {
        self.cork.flush();
    }

    /// Keeps a connection for the next flush.
    pub(super) fn touch(&self, connection: Weak<Connection>) {
        if self.cork.touch(connection) {
            self.stir();
        }
    }

    /// Sees to it that somebody ticks: something has begun.
    pub(super) fn stir(&self) {
        if self.dozing.load(Ordering::SeqCst) && self.dozing.swap(false, Ordering::SeqCst) {
            self.stirred.notify_one();
            if let Some(thread) = self.thread.get() {
                thread.unpark();
            }
        }
    }

    /// Drives on the calling thread until `until` is ready. `None` when another guest drives
    /// already or the runtime is shut down.
    pub fn drive<F: Future>(&self, until: F) -> Option<F::Output> {
        self.drive_once(false, until)
    }

    /// The same; `until` is only looked at once the I/O thread has left, if `seated`.
    fn drive_once<F: Future>(&self, seated: bool, until: F) -> Option<F::Output> {
        let runtime = self.runtime.read().unwrap_or_else(PoisonError::into_inner);
        let runtime = runtime.as_ref()?;
        if self.guest.swap(true, Ordering::SeqCst) {
            return None;
        }
        if self.attended.load(Ordering::SeqCst) {
            self.recall.notify_one();
            if seated {
                drop(locked(&self.seat));
            }
        }
        let output = runtime.block_on(async {
            select! {
                biased;
                output = until => Some(output),
                () = self.is_closed() => None,
            }
        });
        self.guest.store(false, Ordering::SeqCst);
        self.outings.fetch_add(1, Ordering::SeqCst);
        self.stir();
        output
    }

    /// Reads what has come and writes what can be, on the calling thread, which has more to do; where
    /// the I/O thread does so on a CPU of its own, it is left to it.
    pub(super) fn look(&self) {
        if self.staff.has_one_cpu() || !self.attended.load(Ordering::SeqCst) {
            self.glance();
        }
    }

    /// The same, and takes the driving from the I/O thread for it. False when a guest drives.
    pub(super) fn glance(&self) -> bool {
        // The first time the poller is asked, the second one what came has been seen to.
        let look = async {
            yield_now().await;
            yield_now().await;
        };
        self.drive_once(true, look).is_some()
    }

    /// The same on an event loop, where nobody but it waits for anything. False when somebody else
    /// reads, or has to.
    pub fn glance_alone(&self) -> bool {
        self.interest.is_of_one_loop() && !self.has_workers() && self.glance()
    }

    /// The number of the descriptor that becomes readable when there is something to look at, where
    /// there is one.
    pub fn poller(&self) -> Option<RawFd> {
        *self.poller.get_or_init(|| poller::find(&self.handle))
    }

    /// Drives until `until` is ready, at most for `time`, on a thread that runs callbacks. Where
    /// there are workers, it leaves that to them.
    pub fn drive_between<F: Future>(&self, until: F, time: Duration) {
        if !self.has_workers()
            && let Some(Err(_)) = self.drive(async { timeout(time, until).await })
        {
            self.attend_now();
        }
    }

    /// Drives until `until` is ready, at most for `time`, on a thread that waits for that and for
    /// nothing else. False when somebody else does or will: workers do, and so does the I/O thread
    /// where more than this thread waits for something.
    pub fn drive_alone<F: Future>(&self, until: F, time: Duration) -> bool {
        let alone = self.interest.thread_comes() && !self.has_workers();
        // Made there, since it needs the runtime's clock.
        let until = async { timeout(time, until).await };
        let drove = alone && self.drive(until).is_some();
        if self.interest.thread_goes() || !drove {
            self.attend_now();
        }
        drove
    }

    /// A call begins, or ends, whose end nobody waits for.
    pub fn expect(&self, begins: bool) {
        self.interest.expect(begins);
    }

    /// Has the I/O thread drive at once unless somebody does.
    fn attend_now(&self) {
        let driven = || self.guest.load(Ordering::SeqCst) || self.attended.load(Ordering::SeqCst);
        if !driven()
            && !self.wanted.swap(true, Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    async fn is_closed(&self) {
        self.closed.wait().await;
    }

    /// Ends the I/O thread, and the runtime with it.
    pub(super) fn close(&self) {
        // Closed once or twice, it is closed.
        let _ = self.closed.set(());
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// What the I/O thread does until the runtime is to be shut down; then it does that.
    pub(super) fn attend(&self) {
        // This thread is the only one that gets here.
        let _ = self.thread.set(thread::current());
        while self.closed.get().is_none() {
            self.drive_until_recalled();
            self.stand_by();
        }
        // Guests leave when it is closed.
        let mut runtime = self.runtime.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = runtime.take() {
            // Waits for no name look-up that is still under way.
            runtime.shutdown_background();
        }
    }

    fn drive_until_recalled(&self) {
        let runtime = self.runtime.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = runtime.as_ref() {
            let _seat = locked(&self.seat);
            self.attended.store(true, Ordering::SeqCst);
            runtime.block_on(self.recalled());
            self.attended.store(false, Ordering::SeqCst);
        }
    }

    async fn recalled(&self) {
        let mut quiet = 0;
        let mut closed = pin!(self.is_closed());
        while !self.guest.load(Ordering::SeqCst) {
            let dozes = quiet >= QUIET_TICKS && self.doze(|| true);
            select! {
                biased;
                () = &mut closed => return,
                () = self.recall.notified() => {}
                () = self.stirred.notified() => quiet = 0,
                () = sleep(TICK), if !dozes => quiet = self.tick(quiet).0,
            }
        }
    }

    /// Looks after things while a guest drives; returns when nobody does.
    fn stand_by(&self) {
        let (mut quiet, mut seen, mut away) = (0, 0, 0);
        while self.closed.get().is_none() {
            if quiet >= QUIET_TICKS && self.doze(|| self.guest.load(Ordering::SeqCst)) {
                thread::park();
                quiet = 0;
            } else {
                thread::park_timeout(TICK);
            }
            let (still_quiet, moves) = self.tick(quiet);
            quiet = still_quiet;
            let outings = self.outings.load(Ordering::SeqCst);
            let drives = self.guest.load(Ordering::SeqCst);
            if self.wanted.swap(false, Ordering::SeqCst) && !drives {
                return;
            }
            if outings != seen {
                (quiet, away) = (0, 0);
            }
            seen = outings;
            let may_be_away = if moves && self.staff.has_one_cpu() {
                AWAY_BUSY_TICKS
            } else {
                AWAY_TICKS
            };
            away = if drives { 0 } else { away + 1 };
            if away > may_be_away {
                return;
            }
        }
    }

    /// Does what is to be done at each tick; how many quiet ones there were, and whether all that
    /// are at work make progress.
    fn tick(&self, quiet: u32) -> (u32, bool) {
        let idle = self.is_quiet();
        self.cork.flush();
        let now = clock::now();
        let mut moves = true;
        for processor in self.watched() {
            moves &= processor.tick(now, &self.staff);
        }
        (if idle { quiet + 1 } else { 0 }, moves)
    }

    /// Lets ticks cease if nothing needs them; whoever makes that untrue finds `dozing` set.
    fn doze(&self, may: impl FnOnce() -> bool) -> bool {
        self.dozing.store(true, Ordering::SeqCst);
        let dozes = may() && self.is_quiet();
        if !dozes {
            self.dozing.store(false, Ordering::SeqCst);
        }
        dozes
    }

    fn is_quiet(&self) -> bool {
        self.cork.is_empty() && self.watched().iter().all(|processor| processor.is_quiet())
    }

    fn has_workers(&self) -> bool {
        let processors = locked(&self.processors);
        processors
            .iter()
            .any(|processor| processor.strong_count() > 0)
    }

    fn watched(&self) -> Vec<Arc<Processor>> {
        let processors = locked(&self.processors);
        processors.iter().filter_map(Weak::upgrade).collect()
    }
}
