//! How one call gets onto the wire: at once where that can be, else in its turn.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::select;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::call::Link as _;
use crate::net::client::{Channel, State};
use crate::status::{Code, Status};

/// Calls of one channel that may wait for a connection or for room.
const WAITING_CALLS: usize = 4096;
/// Bytes of requests that may wait so.
const WAITING_BYTES: usize = 64 * 1024 * 1024;

/// A call under way. Dropping it lets the call go on.
#[derive(Debug, Default)]
pub struct Delivery {
    cancel: Option<oneshot::Sender<()>>,
}

impl Delivery {
    /// Ends the call as `CANCELLED`, unless it has ended.
    pub fn cancel(&mut self) {
        if let Some(cancel) = self.cancel.take() {
            // The call has ended when nobody listens.
            let _ = cancel.send(());
        }
    }
}

/// Tells the outcome exactly once, also when the runtime is stopped under it.
struct Ending<F: FnOnce(Result<(), Status>)>(Option<F>);

impl<F: FnOnce(Result<(), Status>)> Ending<F> {
    fn tell(&mut self, outcome: Result<(), Status>) {
        if let Some(then) = self.0.take() {
            then(outcome);
        }
    }
}

impl<F: FnOnce(Result<(), Status>)> Drop for Ending<F> {
    fn drop(&mut self) {
        self.tell(Err(Status::new(
            Code::Unavailable,
            "the channel was shut down",
        )));
    }
}

/// Counts itself and its bytes among the calls that wait, for as long as it lives.
struct Waiting {
    channel: Arc<Channel>,
    bytes: usize,
}

impl Waiting {
    fn new(channel: &Arc<Channel>, bytes: usize) -> Self {
        channel.waiting.fetch_add(1, Ordering::SeqCst);
        channel.waiting_bytes.fetch_add(bytes, Ordering::SeqCst);
        Self {
            channel: Arc::clone(channel),
            bytes,
        }
    }

    /// Refused when too many wait, or too much; one alone may be of any size.
    fn admitted(&self) -> Result<(), Status> {
        let calls = self.channel.waiting.load(Ordering::SeqCst);
        let bytes = self.channel.waiting_bytes.load(Ordering::SeqCst);
        if calls <= WAITING_CALLS && (calls == 1 || bytes <= WAITING_BYTES) {
            return Ok(());
        }
        let text = format!(
            "{calls} calls with {bytes} bytes wait already: {}",
            self.channel.obstacle()
        );
        Err(Status::new(Code::ResourceExhausted, text))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.channel.waiting.fetch_sub(1, Ordering::SeqCst);
        self.channel
            .waiting_bytes
            .fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

impl Channel {
    /// Hands the call over when that takes no waiting; `None` when it does.
    pub fn call_now(&self, index: u32, body: &[u8]) -> Option<Result<(), Status>> {
        // Calls that wait come first: a connection's calls keep their order.
        if self.waiting.load(Ordering::SeqCst) > 0 {
            return None;
        }
        let connection = match &self.standing().state {
            State::Ready(connection) => Arc::clone(connection),
            State::Closed => return Some(Err(self.closed())),
            State::Idle | State::Connecting => return None,
        };
        match connection.call(index, body) {
            Err(Status {
                code: Code::Unavailable | Code::ResourceExhausted,
                ..
            }) => None,
            ended => Some(ended),
        }
    }

    /// Hands the call over as soon as there are a connection and room, and tells `then`, on the
    /// I/O thread, how that ended. `limit` bounds the wait.
    pub fn call_then(
        self: &Arc<Self>,
        index: u32,
        body: Bytes,
        limit: Option<Duration>,
        then: impl FnOnce(Result<(), Status>) + Send + 'static,
    ) -> Delivery {
        // Counted from when the call was made, not from its turn: calls that are not to wait
        // fail together.
        let failures = self.standing().failures;
        self.start(body.len(), limit, then, move |channel| async move {
            loop {
                let connection = channel.connection(failures).await?;
                match connection.call_waiting(index, &body).await {
                    // Nothing of it was sent; the next connection may take it.
                    Err(Status {
                        code: Code::Unavailable,
                        ..
                    }) => {}
                    ended => return ended,
                }
            }
        })
    }

    /// Connects, and tells `then`, on the I/O thread, how that ended.
    pub fn connect_then(
        self: &Arc<Self>,
        limit: Option<Duration>,
        then: impl FnOnce(Result<(), Status>) + Send + 'static,
    ) -> Delivery {
        let failures = self.standing().failures;
        self.start(0, limit, then, move |channel| async move {
            channel.connection(failures).await.map(drop)
        })
    }

    fn start<F>(
        self: &Arc<Self>,
        bytes: usize,
        limit: Option<Duration>,
        then: impl FnOnce(Result<(), Status>) + Send + 'static,
        work: impl FnOnce(Arc<Self>) -> F + Send + 'static,
    ) -> Delivery
    where
        F: Future<Output = Result<(), Status>> + Send + 'static,
    {
        let waiting = Waiting::new(self, bytes);
        let channel = Arc::clone(self);
        let (cancel, cancelled) = oneshot::channel();
        let mut ending = Ending(Some(then));
        if let Err(refusal) = waiting.admitted() {
            ending.tell(Err(refusal));
            return Delivery::default();
        }
        self.runtime.spawn(async move {
            let in_turn = async {
                let _turn = channel.order.lock().await;
                work(Arc::clone(&channel)).await
            };
            let outcome = select! {
                outcome = within(limit, in_turn) => outcome.unwrap_or_else(|| {
                    let within = limit.unwrap_or_default().as_secs_f64();
                    let text = format!("not sent within {within} s: {}", channel.obstacle());
                    Err(Status::new(Code::DeadlineExceeded, text))
                }),
                Ok(()) = cancelled => {
                    Err(Status::new(Code::Cancelled, "the caller cancelled the call"))
                }
            };
            drop(waiting);
            ending.tell(outcome);
        });
        Delivery {
            cancel: Some(cancel),
        }
    }
}

async fn within<T>(limit: Option<Duration>, work: impl Future<Output = T>) -> Option<T> {
    match limit {
        None => Some(work.await),
        Some(limit) => timeout(limit, work).await.ok(),
    }
}
