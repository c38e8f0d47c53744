//! Calls that go out, and a place where they tell how they ended.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel, sync_channel};
use std::time::{Duration, Instant};

use _core::call::{Answer, Ended, Link, Outbound, Waiter};
use _core::net::client::{Channel, Delivery};
use _core::status::{Code, Status};
use _core::wire::{Extras, Payload};

use super::{PATIENCE, method, ms, numbered};

/// How a call ended, as its caller sees it.
pub(crate) type Outcome = Result<Answer, Status>;

/// The end of a call that brought nothing back.
#[expect(clippy::unnecessary_wraps)] // it is compared with ends of calls
pub(crate) fn done() -> Outcome {
    Ok(Answer::default())
}

/// What the caller of a channel sees; that something was not sent is not for him.
#[track_caller]
fn outcome(end: Ended) -> Outcome {
    match end {
        Ended::Answered(answer) => Ok(answer),
        Ended::Failed(status) | Ended::Denied(status, _) => Err(status),
        Ended::Unsent(status) => panic!("a caller was told that a call was not sent: {status}"),
        Ended::Invalid(error) => Err(Status::new(Code::InvalidArgument, error.to_string())),
    }
}

/// A call of the method at `index`.
pub(crate) fn outbound(index: u32, body: impl Into<Vec<u8>>, limit: Option<Duration>) -> Outbound {
    Outbound {
        method: method(index),
        body: Payload::plain(body.into().into()),
        extras: Extras::default(),
        deadline: limit.map(|limit| Instant::now() + limit),
    }
}

/// Calls the peer on a wire without answers, where a call ends before [`Link::call`] returns.
#[track_caller]
pub(crate) fn call(link: &Arc<dyn Link>, index: u32, body: &[u8]) -> Result<(), Status> {
    let (told, heard) = sync_channel(1);
    let waiter = Waiter::new(move |end| told.send(end).unwrap());
    let number = link.call(&outbound(index, body, None), waiter);
    assert_eq!(number, None, "there is something to cancel");
    outcome(heard.try_recv().expect("the call has not ended")).map(drop)
}

/// Where each call tells how it ended, with its number.
pub(crate) struct Calls {
    told: Sender<(u32, Ended)>,
    heard: Receiver<(u32, Ended)>,
}

impl Calls {
    pub(crate) fn new() -> Self {
        let (told, heard) = channel();
        Self { told, heard }
    }

    /// Who tells the end of the call with this number.
    pub(crate) fn waiter(&self, number: u32) -> Waiter {
        let told = self.told.clone();
        Waiter::new(move |end| {
            // A test that has seen enough may be gone.
            let _ = told.send((number, end));
        })
    }

    /// Makes a call.
    pub(crate) fn make(&self, channel: &Channel, number: u32, call: Outbound) -> Delivery {
        channel.call(call, self.waiter(number))
    }

    /// Calls the method at `index` with `number` for a body.
    pub(crate) fn call(
        &self,
        channel: &Channel,
        index: u16,
        number: u32,
        limit: Option<Duration>,
    ) -> Delivery {
        let call = outbound(u32::from(index), numbered(number), limit);
        self.make(channel, number, call)
    }

    /// The next end.
    #[track_caller]
    pub(crate) fn next(&self) -> (u32, Outcome) {
        match self.heard.recv_timeout(PATIENCE) {
            Ok((number, end)) => (number, outcome(end)),
            Err(error) => panic!("no call ends: {error}"),
        }
    }

    /// The next end, should one come within `limit`.
    pub(crate) fn next_within(&self, limit: Duration) -> Option<(u32, Outcome)> {
        let (number, end) = self.heard.recv_timeout(limit).ok()?;
        Some((number, outcome(end)))
    }

    /// The end that was told already.
    #[track_caller]
    pub(crate) fn told(&self) -> (u32, Outcome) {
        let (number, end) = self.heard.try_recv().expect("no call has ended");
        (number, outcome(end))
    }

    /// The next end, which is that of the call `number`, a failure.
    #[track_caller]
    pub(crate) fn failure(&self, number: u32) -> Status {
        match self.next() {
            (other, Err(status)) if other == number => status,
            other => panic!("{other:?} is no failure of {number}"),
        }
    }

    /// The next end, which is that of the call `number`, an answer.
    #[track_caller]
    pub(crate) fn answer(&self, number: u32) -> Answer {
        match self.next() {
            (other, Ok(answer)) if other == number => answer,
            other => panic!("{other:?} is no answer to {number}"),
        }
    }

    /// No call has ended.
    #[track_caller]
    pub(crate) fn assert_none_told(&self) {
        assert_eq!(self.heard.try_recv(), Err(TryRecvError::Empty));
    }

    /// No call ends for a while.
    #[track_caller]
    pub(crate) fn assert_silent(&self) {
        assert_eq!(self.heard.recv_timeout(ms(50)).ok(), None);
    }

    /// All ends that are still to come, by number, once nobody is left to tell one.
    #[track_caller]
    pub(crate) fn rest(self) -> Vec<(u32, Outcome)> {
        drop(self.told);
        let mut rest = Vec::new();
        loop {
            match self.heard.recv_timeout(PATIENCE) {
                Ok((number, end)) => rest.push((number, outcome(end))),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("a call never ended; these did: {rest:?}"),
            }
        }
        rest.sort_by_key(|(number, _)| *number);
        rest
    }
}
