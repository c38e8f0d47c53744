//! Workers between two lanes: how one finds the next, and what it does while there is none.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::call::{Lane, Processor, Woken, WorkerId};
use crate::net::cork;
use crate::net::driver::Driver;

/// Lanes that a worker takes before it writes what it has held back, should they never end.
const BATCH_LANES: usize = 256;

/// The workers of one processor.
#[derive(Debug)]
pub struct Crew {
    processor: Arc<Processor>,
    driver: Arc<Driver>,
    last: AtomicU64,
}

impl Crew {
    /// Workers of `processor`, which drive when there is nothing to run.
    #[must_use]
    pub fn new(processor: Arc<Processor>, driver: Arc<Driver>) -> Self {
        driver.watch(&processor);
        let last = AtomicU64::new(0);
        Self {
            processor,
            driver,
            last,
        }
    }

    /// The processor.
    #[must_use]
    pub fn processor(&self) -> &Arc<Processor> {
        &self.processor
    }

    /// One more of them: the calling thread.
    #[must_use]
    pub fn worker(&self) -> Worker<'_> {
        cork::hold_back(true);
        Worker {
            crew: self,
            id: self.last.fetch_add(1, Ordering::Relaxed),
            taken: 0,
        }
    }
}

/// One worker, for the thread that it was made on.
#[derive(Debug)]
pub struct Worker<'a> {
    crew: &'a Crew,
    id: WorkerId,
    /// Lanes since something was last written.
    taken: usize,
}

impl Worker<'_> {
    /// Takes a lane if there is one, without waiting.
    pub fn take(&mut self) -> Option<Arc<Lane>> {
        if self.taken >= BATCH_LANES {
            return None;
        }
        self.taken += 1;
        self.crew.processor.take()
    }

    /// Writes what was held back and waits for a lane; `None` when nothing more will come.
    pub fn wait(&mut self) -> Option<Arc<Lane>> {
        let Crew {
            processor, driver, ..
        } = self.crew;
        self.taken = 0;
        driver.flush();
        loop {
            if let Some(lane) = processor.take() {
                return Some(lane);
            }
            let woken = if processor.lead(self.id) {
                driver
                    .drive(poll_fn(|context| processor.poll_filled(context)))
                    .unwrap_or_else(|| {
                        processor.stand_aside(self.id);
                        processor.rest()
                    })
            } else {
                processor.rest()
            };
            if woken == Woken::Stopped {
                return None;
            }
            driver.stir();
        }
    }
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        self.crew.processor.stand_aside(self.id);
        self.crew.driver.flush();
        cork::hold_back(false);
    }
}
