//! The thread that moves bytes when no worker does.

use std::future::Future;
use std::io;
use std::mem;
use std::process;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use tokio::runtime::{Builder as RuntimeBuilder, Handle};

use crate::net::driver::Driver;
use crate::net::memory;

/// A tokio runtime with a thread of its own, which knows no Python.
///
/// It is stamped with the process that made it. After a fork the child has neither the thread nor
/// a right to the sockets' registrations, so there the runtime is leaked, never dropped.
#[derive(Debug)]
pub struct Runtime {
    pid: u32,
    driver: Arc<Driver>,
    thread: Option<JoinHandle<()>>,
}

impl Runtime {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system refuses a thread or a poller.
    pub fn start() -> io::Result<Self> {
        memory::keep_room();
        let runtime = RuntimeBuilder::new_current_thread()
            .enable_io()
            .enable_time()
            // Of the threads that look names up.
            .thread_name("callmethod-dns")
            .build()?;
        let driver = Driver::new(runtime);
        let attended = Arc::clone(&driver);
        let thread = Builder::new()
            .name("callmethod-io".to_owned())
            .spawn(move || attended.attend())?;
        Ok(Self {
            pid: process::id(),
            driver,
            thread: Some(thread),
        })
    }

    /// Who drives it.
    #[must_use]
    pub fn driver(&self) -> &Arc<Driver> {
        &self.driver
    }

    /// A way to start tasks that does not keep the thread alive.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.driver.handle().clone()
    }

    /// Runs a task on the thread and waits for its outcome on this one.
    ///
    /// # Errors
    /// The runtime stopped before the task ended.
    pub fn run<F>(&self, task: F) -> io::Result<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.driver.handle().spawn(async move {
            // Nobody waits any more when this fails.
            let _ = sender.send(task.await);
        });
        receiver
            .recv()
            .map_err(|_| io::Error::other("the I/O thread has stopped"))
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let thread = self.thread.take();
        if process::id() != self.pid {
            mem::forget((Arc::clone(&self.driver), thread));
            return;
        }
        self.driver.close();
        if let Some(thread) = thread {
            // The thread never waits for Python or for a lock that outlasts a system call.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_ends_with_the_runtime_and_takes_its_tasks_along() {
        let runtime = Runtime::start().unwrap();
        assert_eq!(runtime.run(async { 7 }).unwrap(), 7);
        let (alive, gone) = std::sync::mpsc::channel::<()>();
        runtime.handle().spawn(async move {
            std::future::pending::<()>().await;
            drop(alive);
        });
        drop(runtime);
        assert!(gone.recv().is_err());
    }
}
