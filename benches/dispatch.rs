//! What it costs to have calls run: admission, ticket, lane, and the end of each call, with a
//! handler that does nothing and a connection that says nothing.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use _core::call::{
    Admission, Call, CloseReason, Event, Held, Lane, Limits, Link, LossListener, Outbound, Outcome,
    Place, Processor, Registry, Reply, ReplyTo, Session, Tally, Ticket, Turn, Waiter,
};
use _core::status::{Code, Status};
use _core::wire::{Answers, Body, Extras, Payload, Traits};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Calls that one read brings.
const CALLS: usize = 64;
const PLACE: Place = Place {
    service: 0,
    method: 0,
};

/// Says nothing, and lets everybody in by its door.
#[derive(Debug)]
struct Silent(Admission);

impl Tally for Silent {
    fn ended(&self, _: Outcome) {}
    fn late(&self) {}
    fn expired(&self) {}
}

impl Link for Silent {
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
    fn answer(&self, _: ReplyTo, _: Option<Reply<'_>>) -> Option<Code> {
        None
    }
    fn door(&self) -> Option<&Admission> {
        Some(&self.0)
    }
    fn tally(&self) -> &dyn Tally {
        self
    }
    fn is_open(&self) -> bool {
        true
    }
    fn is_lost(&self) -> bool {
        false
    }
    fn on_loss(&self, _: Weak<dyn LossListener>) {}
    fn finish(&self, _: CloseReason) {}
    fn abort(&self, _: CloseReason) {}
}

/// Answers at once.
#[derive(Debug)]
struct Answerer;

impl Session for Answerer {
    fn handle(&self, _: &Arc<dyn Link>, event: Event, _: &mut Turn<'_>) {
        if let Event::Call(call) = event {
            call.ticket.respond(Body::from(&call.body), &Extras::NONE);
        }
    }
}

fn dispatch(criterion: &mut Criterion) {
    let limits = Limits {
        concurrency: Some(10_000),
        queued: 4096,
        queue_time: Duration::from_secs(10),
    };
    let silent = Arc::new(Silent(Admission::new(limits, Vec::new())));
    let link: Arc<dyn Link> = Arc::clone(&silent) as _;
    let arrived = Instant::now();
    let event = || {
        let permit = silent
            .0
            .enter(PLACE, None, Held::default)
            .expect("there is room");
        let to = ReplyTo {
            id: Some(7),
            place: 7,
            turn: 0,
        };
        let ticket = Ticket::new(Arc::clone(&link), to, arrived, None, Some(permit));
        Event::Call(Call {
            place: PLACE,
            body: Payload::plain(Bytes::from_static(b"sixteen bytes ..")),
            extras: Extras::NONE,
            ticket: Arc::new(ticket),
        })
    };
    let mut group = criterion.benchmark_group("dispatch");
    group.throughput(Throughput::Elements(CALLS as u64));
    group.bench_function("calls let in and given up", |bencher| {
        bencher.iter(|| (0..CALLS).map(|_| event()).collect::<Vec<_>>());
    });
    group.bench_function("calls let in, run and ended", |bencher| {
        let processor = Arc::new(Processor::default());
        let lane = Lane::new(Arc::new(Answerer), Arc::clone(&processor));
        lane.widen(true);
        bencher.iter(|| {
            lane.push(&link, (0..CALLS).map(|_| event()));
            while let Some(lane) = processor.take() {
                lane.run();
            }
            assert!(lane.is_idle());
        });
    });
    group.finish();
}

criterion_group!(benches, dispatch);
criterion_main!(benches);
