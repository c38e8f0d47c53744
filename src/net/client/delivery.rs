//! A call on its way: at once where that can be, else in the hands of a task, see `pursuit.rs`.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::select;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use crate::call::{Answer, Ended, Outbound, Waiter, is_refused};
use crate::net::calling::{NotSent, largest_id};
use crate::net::client::line::{Line, State};
use crate::net::client::pursuit::Waiting;
use crate::net::connection::{Connection, locked};
use crate::status::{Code, Status};
use crate::wire::{Body, EncodeError, OutgoingCall};

/// Where a call is.
#[derive(Debug)]
enum Stage {
    /// On its way to one of the others, or ended.
    Between,
    /// Sent, under this number.
    Sent(Weak<Connection>, u64),
    /// In the hands of a task, which listens to this and holds the other.
    Pursued(oneshot::Sender<()>, Weak<Untold>),
    /// To be ended as soon as somebody can.
    Cancelled,
}

/// A call under way. Dropping it lets the call go on.
#[derive(Debug, Clone)]
pub struct Delivery {
    stage: Arc<Mutex<Stage>>,
}

impl Delivery {
    /// A call that has ended already.
    #[must_use]
    pub fn ended() -> Self {
        Self::new()
    }

    fn new() -> Self {
        Self {
            stage: Arc::new(Mutex::new(Stage::Between)),
        }
    }

    /// Ends the call as `CANCELLED`, unless it has ended.
    pub fn cancel(&self) {
        let stage = std::mem::replace(&mut *locked(&self.stage), Stage::Cancelled);
        match stage {
            Stage::Sent(connection, number) => {
                if let Some(connection) = connection.upgrade() {
                    connection.cancel_call(number);
                }
            }
            Stage::Pursued(cancel, untold) => {
                // Told here and not by the task: an answer that comes before its turn is late.
                if let Some(untold) = untold.upgrade() {
                    untold.tell(cancelled());
                }
                // The call has ended when nobody listens.
                let _ = cancel.send(());
            }
            Stage::Between | Stage::Cancelled => {}
        }
    }

    /// Takes note of where the call is, unless it has got further than that or was cancelled.
    fn sent(&self, connection: &Arc<Connection>, number: u64) {
        let mut stage = locked(&self.stage);
        match *stage {
            Stage::Between => *stage = Stage::Sent(Arc::downgrade(connection), number),
            Stage::Sent(..) | Stage::Pursued(..) => {}
            Stage::Cancelled => {
                drop(stage);
                connection.cancel_call(number);
            }
        }
    }

    /// Lets the call be cancelled: `untold` is told, and then comes a message; `None` when it has
    /// been cancelled.
    pub(super) fn pursued(&self, untold: &Arc<Untold>) -> Option<oneshot::Receiver<()>> {
        let mut stage = locked(&self.stage);
        if matches!(*stage, Stage::Cancelled) {
            return None;
        }
        let (cancel, cancelled) = oneshot::channel();
        // Not kept alive: a runtime that is stopped drops its tasks, and what they hold tells so.
        *stage = Stage::Pursued(cancel, Arc::downgrade(untold));
        Some(cancelled)
    }
}

/// Tells the end exactly once, also when the runtime is stopped under it.
pub(super) struct Telling(Option<Waiter>);

impl Telling {
    pub(super) fn tell(mut self, end: Ended) {
        if let Some(waiter) = self.0.take() {
            waiter.tell(end);
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        if let Some(waiter) = self.0.take() {
            let status = Status::new(Code::Unavailable, "the channel was shut down");
            waiter.tell(Ended::Failed(status));
        }
    }
}

/// The end of a call that several may tell; the first one does.
pub(super) struct Untold(Mutex<Option<Telling>>);

impl Untold {
    pub(super) fn new(telling: Telling) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(telling))))
    }

    /// Tells it, and says whether nobody had before.
    pub(super) fn tell(&self, end: Ended) -> bool {
        let telling = locked(&self.0).take();
        let first = telling.is_some();
        if let Some(telling) = telling {
            telling.tell(end);
        }
        first
    }
}

impl fmt::Debug for Untold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Untold").finish_non_exhaustive()
    }
}

pub(super) fn failed(code: Code, text: impl Into<String>) -> Ended {
    Ended::Failed(Status::new(code, text))
}

pub(super) fn cancelled() -> Ended {
    failed(Code::Cancelled, "the caller cancelled the call")
}

impl Line {
    /// Makes a call, at once where that takes no waiting.
    pub(super) fn call(self: &Arc<Self>, call: Outbound, waiter: Waiter) -> Delivery {
        let delivery = Delivery::new();
        let call = Arc::new(call);
        // Calls that wait come first: a connection's calls keep their order.
        let ready = match &self.standing().state {
            State::Closed => Err(self.closed()),
            _ if self.waiting.load(Ordering::SeqCst) > 0 => Ok(None),
            // Where it is gone, it gives the call back.
            State::Ready(connection) if !connection.was_left() => Ok(Some(Arc::clone(connection))),
            _ => Ok(None),
        };
        // Told without the lock: who hears it may look at the line.
        let ready = match ready {
            Ok(ready) => ready,
            Err(closed) => {
                waiter.tell(Ended::Failed(closed));
                return delivery;
            }
        };
        let telling = Telling(Some(waiter));
        let Some(connection) = ready else {
            match self.check(&call) {
                Ok(()) => self.pursue(call, None, telling, &delivery),
                Err(error) => telling.tell(Ended::Invalid(error)),
            }
            return delivery;
        };
        let (line, kept, handle) = (Arc::clone(self), Arc::clone(&call), delivery.clone());
        let first = Waiter::new(move |end| line.tried(kept, end, telling, &handle));
        match connection.push(&call, first) {
            Ok(Some(number)) => delivery.sent(&connection, number),
            Ok(None) => {}
            Err((why, first)) => first.tell(match why {
                NotSent::Refused(end) => end,
                NotSent::Gone(status) => Ended::Unsent(status),
                NotSent::Full { unwritten } => Ended::Unsent(connection.full(unwritten)),
            }),
        }
        delivery
    }

    /// Finds out whether a call can be sent at all, without a connection: as the first one of a
    /// connection and with the largest id, so that it is not found to be too large later on.
    fn check(&self, call: &Outbound) -> Result<(), EncodeError> {
        let left = |deadline: std::time::Instant| {
            deadline.saturating_duration_since(Instant::now().into())
        };
        let outgoing = OutgoingCall {
            method: &call.method,
            id: Some(largest_id(self.terms.codec.traits())),
            timeout: call.deadline.map(left),
            body: Body::from(&call.body),
            extras: &self.terms.greet(&call.extras),
        };
        self.terms.codec.call_head(&outgoing).map(drop)
    }

    /// Does with the end of a first try what it asks for.
    fn tried(
        self: &Arc<Self>,
        call: Arc<Outbound>,
        end: Ended,
        telling: Telling,
        delivery: &Delivery,
    ) {
        match end {
            Ended::Unsent(_) => self.pursue(call, None, telling, delivery),
            Ended::Denied(status, _) if is_refused(&status) && self.options.max_retry > 0 => {
                self.pursue(call, Some(&status), telling, delivery);
            }
            end => telling.tell(end),
        }
    }

    /// Connects, and tells the waiter how that ended.
    pub(super) fn connect(self: &Arc<Self>, limit: Option<Duration>, waiter: Waiter) -> Delivery {
        let delivery = Delivery::new();
        let untold = Untold::new(Telling(Some(waiter)));
        let Some(cancel) = delivery.pursued(&untold) else {
            return delivery;
        };
        let (line, failures) = (Arc::clone(self), self.standing().failures);
        let waiting = Waiting::new(self, 0);
        self.runtime.spawn(async move {
            let start = Instant::now();
            let limit = limit.and_then(|limit| start.checked_add(limit));
            let in_turn = async {
                let _turn = line.order.lock().await;
                line.connection(failures).await
            };
            let end = select! {
                biased;
                Ok(()) = cancel => cancelled(),
                made = in_turn => match made {
                    Ok(_) => Ended::Answered(Answer::default()),
                    Err(status) => Ended::Failed(status),
                },
                () = sleep_until(limit.unwrap_or(start)), if limit.is_some() => {
                    failed(Code::DeadlineExceeded, line.obstacle())
                }
            };
            drop(waiting);
            untold.tell(end);
        });
        delivery
    }
}
