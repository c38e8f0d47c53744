//! The one thread that moves bytes.

use std::future::Future;
use std::io;
use std::mem;
use std::process;
use std::thread::{Builder, JoinHandle};

use tokio::runtime::{Builder as RuntimeBuilder, Handle};
use tokio::sync::oneshot;

/// A tokio runtime driven by a thread of its own, which knows no Python.
///
/// It is stamped with the process that made it. After a fork the child has neither the thread nor
/// a right to the sockets' registrations, so there the runtime is leaked, never dropped.
#[derive(Debug)]
pub struct Runtime {
    pid: u32,
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Runtime {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system refuses a thread or a poller.
    pub fn start() -> io::Result<Self> {
        let runtime = RuntimeBuilder::new_current_thread()
            .enable_io()
            .enable_time()
            // Of the threads that look names up.
            .thread_name("callmethod-dns")
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = Builder::new()
            .name("callmethod-io".to_owned())
            .spawn(move || {
                // An error means that the sender is gone, which is a stop too.
                let _ = runtime.block_on(stopped);
                // Waits for no name look-up that is still under way.
                runtime.shutdown_background();
            })?;
        Ok(Self {
            pid: process::id(),
            handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// A way to start tasks that does not keep the thread alive.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
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
        self.handle.spawn(async move {
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
        let (stop, thread) = (self.stop.take(), self.thread.take());
        if process::id() != self.pid {
            mem::forget((stop, thread));
            return;
        }
        drop(stop);
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
