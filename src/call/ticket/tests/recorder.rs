//! A link that keeps what tickets say, and who counts it.

use std::sync::atomic::{AtomicBool, AtomicUsize};

use super::*;

/// What was said of a call, if anything was.
pub(super) type Said<T, E> = Option<Result<T, E>>;

/// A link to nowhere that keeps what it was given to say.
#[derive(Debug, Default)]
pub(in crate::call) struct Recorder {
    pub(super) answers: Mutex<Vec<(ReplyTo, Said<Payload, Status>)>>,
    pub(super) lost: AtomicBool,
    pub(super) door: Option<Arc<Admission>>,
    /// What is said instead of any answer.
    pub(super) instead: Mutex<Option<Code>>,
    pub(super) count: Count,
}

impl Link for Recorder {
    fn peer(&self) -> &'static str {
        "nowhere"
    }
    fn protocol(&self) -> &'static str {
        "none"
    }
    fn traits(&self) -> Traits {
        Traits {
            answers: Answers::ById,
            failures: true,
            concurrent: true,
            credentials: false,
            metadata: false,
            both_ways: false,
            largest_id: u64::MAX,
        }
    }
    fn limit(&self) -> usize {
        usize::MAX
    }
    fn closes_on_bad_body(&self) -> bool {
        false
    }
    fn serve(&self, _: Arc<Registry>) {}
    fn judge(&self, _: Result<(), Status>) {}
    fn call(&self, _: &Outbound, _: Waiter) -> Option<u64> {
        None
    }
    fn cancel(&self, _: u64) {}
    fn answer(&self, to: ReplyTo, answer: Option<Reply<'_>>) -> Option<Code> {
        let owned = |reply: Reply<'_>| {
            let kept = |body: Body<'_>| Payload {
                bytes: body.bytes.to_vec().into(),
                compression: body.compression,
            };
            reply.outcome.map(kept).map_err(Status::clone)
        };
        locked(&self.answers).push((to, answer.map(owned)));
        *locked(&self.instead)
    }
    fn door(&self) -> Option<&Admission> {
        self.door.as_deref()
    }
    fn tally(&self) -> &dyn Tally {
        &self.count
    }
    fn is_open(&self) -> bool {
        true
    }
    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }
    fn on_loss(&self, _: Weak<dyn LossListener>) {}
    fn finish(&self, _: CloseReason) {}
    fn abort(&self, _: CloseReason) {}
}

/// Who counts endings by their outcome, and late ones.
#[derive(Debug, Default)]
pub(super) struct Count {
    pub(super) ended: Mutex<Vec<Outcome>>,
    pub(super) late: AtomicUsize,
    pub(super) expired: AtomicUsize,
}

impl Tally for Count {
    fn ended(&self, outcome: Outcome) {
        locked(&self.ended).push(outcome);
    }

    fn late(&self) {
        self.late.fetch_add(1, Ordering::SeqCst);
    }

    fn expired(&self) {
        self.expired.fetch_add(1, Ordering::SeqCst);
    }
}
