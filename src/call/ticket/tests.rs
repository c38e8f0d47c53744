//! Tickets that are ended in every way, by one thread and by many.

use std::sync::atomic::AtomicUsize;
use std::sync::{Barrier, Weak};
use std::thread;

use super::*;
use crate::call::{
    Admission, CloseReason, Held, Limits, LossListener, Outbound, Place, Registry, Tally, Waiter,
};
use crate::wire::{Answers, Payload, Traits};

mod permits;
mod recorder;

pub(in crate::call) use recorder::Recorder;
use recorder::Said;

/// Who counts how often it was told of the end.
#[derive(Debug, Default)]
struct Ears(AtomicUsize);

impl EndListener for Ears {
    fn ended(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Ears {
    fn told(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    fn weak(self: &Arc<Self>) -> Weak<dyn EndListener> {
        Arc::downgrade(self) as _
    }
}

/// A ticket of a call that waits, which nobody watches.
pub(in crate::call) fn waiting_ticket(door: &Arc<Admission>) -> Arc<Ticket> {
    Bench::behind(door).ticket(0, Some(door.admit()))
}

/// Everything around a ticket.
#[derive(Default)]
struct Bench {
    link: Arc<Recorder>,
}

impl Bench {
    /// One whose permits are given at `door`.
    fn behind(door: &Arc<Admission>) -> Self {
        let door = Some(Arc::clone(door));
        let link = Arc::new(Recorder {
            door,
            ..Recorder::default()
        });
        Self { link }
    }

    fn ticket(&self, place: usize, permit: Option<Permit>) -> Arc<Ticket> {
        let link: Arc<dyn Link> = Arc::clone(&self.link) as _;
        let to = to(place);
        Arc::new(Ticket::new(link, to, Instant::now(), None, permit))
    }

    /// The only answer that the link was given; it was given no other.
    fn answer(&self) -> Said<Payload, Status> {
        let answers = locked(&self.link.answers);
        assert_eq!(answers.len(), 1, "{answers:?}");
        answers[0].1.clone()
    }

    fn ended(&self) -> Vec<Outcome> {
        locked(&self.link.count.ended).clone()
    }

    fn late(&self) -> usize {
        self.link.count.late.load(Ordering::SeqCst)
    }
}

fn to(place: usize) -> ReplyTo {
    ReplyTo {
        id: Some(place as u64 + 100),
        place,
        turn: 0,
    }
}

fn response() -> Body<'static> {
    Body {
        bytes: b"well",
        ..Body::default()
    }
}

fn payload() -> Payload {
    Payload::plain(bytes::Bytes::from_static(b"well"))
}

fn failure() -> Status {
    Status::new(Code::NotFound, "nothing there")
}

const PLACE: Place = Place {
    service: 0,
    method: 0,
};

fn door(most: usize) -> Arc<Admission> {
    let limits = Limits {
        concurrency: Some(most),
        queued: 1,
        queue_time: Duration::ZERO,
    };
    Arc::new(Admission::new(limits, Vec::new()))
}

fn is_free(door: &Arc<Admission>) -> bool {
    let permit = door.enter(PLACE, None, Held::default);
    if let Ok(permit) = &permit {
        permit.begin(door);
        permit.leave(door);
    }
    permit.is_ok()
}

#[test]
fn each_way_to_end_says_and_counts_its_own() {
    type Way = fn(Arc<Ticket>);
    type Row = (Way, Outcome, Said<(), Code>, bool);
    let failed = |code| Outcome::Failed(code);
    let rows: [Row; 6] = [
        (
            |ticket| assert!(ticket.respond(response(), &Extras::NONE)),
            Outcome::Ok,
            Some(Ok(())),
            false,
        ),
        (
            |ticket| assert!(ticket.fail(&failure())),
            failed(Code::NotFound),
            Some(Err(Code::NotFound)),
            false,
        ),
        (
            |ticket| assert!(ticket.finish(Outcome::Unanswered)),
            Outcome::Unanswered,
            None,
            false,
        ),
        (
            |ticket| ticket.expire(),
            failed(Code::DeadlineExceeded),
            Some(Err(Code::DeadlineExceeded)),
            true,
        ),
        (|ticket| ticket.lose(), failed(Code::Cancelled), None, true),
        (
            drop,
            failed(Code::Internal),
            Some(Err(Code::Internal)),
            false,
        ),
    ];
    for (place, (way, outcome, answer, cancelled)) in rows.into_iter().enumerate() {
        let bench = Bench::default();
        let ears = Arc::new(Ears::default());
        let ticket = bench.ticket(1, None);
        ticket.on_end(ears.weak());
        assert!(!ticket.is_ended() && !ticket.is_cancelled());
        let kept = Arc::downgrade(&ticket);
        if place == 5 {
            way(ticket);
            assert!(kept.upgrade().is_none());
        } else {
            way(Arc::clone(&ticket));
            assert!(ticket.is_ended());
            assert_eq!(ticket.is_cancelled(), cancelled, "row {place}");
        }
        assert_eq!(bench.ended(), [outcome]);
        let said = bench.answer();
        let said = said.map(|said| said.map(drop).map_err(|status| status.code));
        assert_eq!(said, answer, "row {place}");
        assert_eq!((ears.told(), bench.late()), (1, 0), "row {place}");
    }
}

#[test]
fn the_answer_goes_to_the_call_it_belongs_to() {
    let bench = Bench::default();
    bench.ticket(7, None).respond(response(), &Extras::NONE);
    assert_eq!(*locked(&bench.link.answers), [(to(7), Some(Ok(payload())))]);
}

#[test]
fn what_is_counted_is_what_was_said() {
    let bench = Bench::default();
    *locked(&bench.link.instead) = Some(Code::Internal);
    assert!(bench.ticket(1, None).respond(response(), &Extras::NONE));
    assert_eq!(bench.ended(), [Outcome::Failed(Code::Internal)]);
}

#[test]
fn what_comes_after_the_end_says_nothing() {
    let bench = Bench::default();
    let ticket = bench.ticket(1, None);
    assert!(ticket.respond(response(), &Extras::NONE));
    assert!(!ticket.respond(response(), &Extras::NONE));
    assert!(!ticket.fail(&failure()));
    assert!(!ticket.finish(Outcome::Ok));
    assert_eq!(bench.late(), 3);
    // The time that passes and the loss of a connection are nobody's second ending.
    ticket.expire();
    ticket.lose();
    drop(ticket);
    assert_eq!(bench.late(), 3);
    assert_eq!(bench.ended(), [Outcome::Ok]);
    assert_eq!(bench.answer(), Some(Ok(payload())));
}

#[test]
fn a_ticket_whose_connection_is_lost_counts_as_cancelled_before_it_is_told() {
    let bench = Bench::default();
    let ticket = bench.ticket(1, None);
    bench.link.lost.store(true, Ordering::SeqCst);
    assert!(ticket.is_cancelled() && !ticket.is_ended());
}

#[test]
fn a_listener_that_comes_late_is_told_at_once_and_one_that_is_gone_is_not() {
    let bench = Bench::default();
    let (late, gone) = (Arc::new(Ears::default()), Arc::new(Ears::default()));
    let ticket = bench.ticket(1, None);
    ticket.on_end(gone.weak());
    drop(gone);
    ticket.expire();
    ticket.on_end(late.weak());
    assert_eq!(late.told(), 1);
    drop(ticket);
    assert_eq!(late.told(), 1);
}

#[test]
fn a_deadline_that_passes_while_the_call_waits_is_counted_apart() {
    let bench = Bench::default();
    let expired = || bench.link.count.expired.load(Ordering::SeqCst);
    let begun = bench.ticket(1, None);
    begun.begin();
    begun.expire();
    assert_eq!(expired(), 0);
    let waits = bench.ticket(2, None);
    waits.expire();
    waits.expire();
    assert_eq!(expired(), 1);
    let ended = bench.ticket(3, None);
    ended.respond(response(), &Extras::NONE);
    ended.expire();
    let lost = bench.ticket(4, None);
    lost.lose();
    assert_eq!(expired(), 1);
}

/// What one of the threads below does to the ticket that all of them share; whether it says that
/// this was the end.
fn end(way: usize, ticket: Arc<Ticket>) -> bool {
    match way {
        0 => ticket.respond(response(), &Extras::NONE),
        1 => ticket.fail(&failure()),
        2 => ticket.finish(Outcome::Unanswered),
        3 => {
            ticket.expire();
            false
        }
        4 => {
            ticket.lose();
            false
        }
        _ => {
            drop(ticket);
            false
        }
    }
}

#[test]
fn many_threads_end_a_ticket_once() {
    const THREADS: usize = 6;
    let door = door(1);
    for round in 0..300 {
        let bench = Bench::behind(&door);
        let ears = Arc::new(Ears::default());
        let ticket = bench.ticket(1, Some(door.enter(PLACE, None, Held::default).unwrap()));
        ticket.on_end(ears.weak());
        let start = Barrier::new(THREADS);
        let (said_so, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let ticket = Arc::clone(&ticket);
                let (start, said_so, refused) = (&start, &said_so, &refused);
                // In some rounds nobody does more than drop it, in others all do the same.
                let way = match round % 8 {
                    7 => 5,
                    6 => 0,
                    shift => (thread + shift) % 6,
                };
                scope.spawn(move || {
                    start.wait();
                    // One of them runs it, as it may be that one of them begins it.
                    let shared = Arc::clone(&ticket);
                    let _running = (thread == 0).then(|| shared.run());
                    if thread == 1 {
                        ticket.begin();
                    }
                    match (end(way, ticket), way) {
                        (true, _) => said_so.fetch_add(1, Ordering::SeqCst),
                        (false, 0..3) => refused.fetch_add(1, Ordering::SeqCst),
                        (false, _) => 0,
                    };
                });
            }
            drop(ticket);
        });
        let outcomes = bench.ended();
        assert_eq!(outcomes.len(), 1, "round {round}: {outcomes:?}");
        bench.answer();
        assert_eq!(ears.told(), 1, "round {round}");
        let others = [Code::DeadlineExceeded, Code::Cancelled, Code::Internal];
        let by_handler = !others.map(Outcome::Failed).contains(&outcomes[0]);
        let said_so = said_so.into_inner();
        assert_eq!(said_so, usize::from(by_handler), "{round}: {outcomes:?}");
        assert_eq!(refused.into_inner(), bench.late(), "round {round}");
        assert_eq!(door.waiting_calls(), 0, "round {round}");
        assert!(is_free(&door), "round {round}: a permit is kept");
        let more = door.enter(PLACE, None, Held::default).unwrap();
        assert!(!is_free(&door), "round {round}: more is given back");
        more.begin(&door);
        more.leave(&door);
    }
}
