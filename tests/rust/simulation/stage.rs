//! A runtime, workers, servers and channels on one thread, whose clock stands still while anything
//! can be done, and then goes on to the next moment at which something can.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use _core::call::{Admission, Journal, Limits, Processor, Registry, Session, Woken};
use _core::metrics::{Counters, Value};
use _core::net::client::{Channel, ChannelOptions, Dial, Serving, Target};
use _core::net::server::{Bounds, Server};
use _core::net::terms::{Offer, Role, Terms};
use _core::net::{Driver, Timeouts, Unfinished, hold_back};
use _core::schema::ServiceSchema;
use _core::wire::{Codec, MethodName};
use bytes::Bytes;
use prost::Message as _;
use prost_types::{FileDescriptorProto, MethodDescriptorProto, ServiceDescriptorProto};
use tokio::runtime::Builder;

const METHODS: [&str; 4] = ["note", "echo", "wait", "keep"];

/// Longer than anything here may take.
const FOR_EVER: Duration = Duration::from_secs(600);

/// The service that is served.
pub(crate) fn registry() -> Arc<Registry> {
    let method = |name: &&str| MethodDescriptorProto {
        name: Some((*name).to_owned()),
        ..MethodDescriptorProto::default()
    };
    let file = FileDescriptorProto {
        package: Some("game".to_owned()),
        service: vec![ServiceDescriptorProto {
            name: Some("Desk".to_owned()),
            method: METHODS.iter().map(method).collect(),
            ..ServiceDescriptorProto::default()
        }],
        ..FileDescriptorProto::default()
    };
    let file = vec![file.encode_to_vec().into()];
    let schema = ServiceSchema::new("game.Desk", file).unwrap();
    Arc::new(Registry::new(vec![Arc::new(schema)], Some(0)).unwrap())
}

/// All names of a method of it.
pub(crate) fn method(index: usize) -> Arc<MethodName> {
    Arc::new(MethodName {
        service: "game.Desk".to_owned(),
        method: METHODS[index].to_owned(),
        index: u32::try_from(index).unwrap(),
    })
}

/// Now, as the stage's clock says.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Where everything runs.
pub(crate) struct Stage {
    pub(crate) driver: Arc<Driver>,
    pub(crate) processor: Arc<Processor>,
    /// Through which calls come in, at all servers.
    pub(crate) door: Arc<Admission>,
    pub(crate) journal: Arc<Journal>,
    /// At both ends.
    pub(crate) timeouts: Timeouts,
    /// Bytes of unfinished frames, at each end.
    pub(crate) unfinished: usize,
    panics: Arc<AtomicU64>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let driver = Driver::new(runtime);
        let processor = Arc::new(Processor::default());
        let (handle, weak) = (driver.handle().clone(), Arc::downgrade(&driver));
        let panics = Arc::default();
        handle.spawn(work(Arc::clone(&processor), weak, Arc::clone(&panics)));
        let journal = Arc::default();
        let limits = Limits {
            concurrency: None,
            queued: usize::MAX,
            queue_time: Duration::MAX,
        };
        Self {
            driver,
            processor,
            door: Arc::new(Admission::new(limits, vec![Vec::new()])),
            journal,
            timeouts: Timeouts {
                idle: None,
                frame: Duration::from_secs(30),
                write: Duration::from_secs(30),
            },
            unfinished: usize::MAX,
            panics,
        }
    }

    /// How often the worker panicked.
    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Ordering::SeqCst)
    }

    /// Runs all there is until `scene` has ended.
    pub(crate) fn play<F: Future>(&self, scene: F) -> F::Output {
        self.play_for(FOR_EVER, scene)
    }

    /// The same, for a scene that takes at most `time`.
    pub(crate) fn play_for<F: Future>(&self, time: Duration, scene: F) -> F::Output {
        let scene = async { tokio::time::timeout(time, scene).await };
        let played = self.driver.drive(scene).expect("nobody else drives");
        played.expect("it never ends")
    }

    fn terms(
        &self,
        codec: &Arc<dyn Codec>,
        role: Role,
        offer: Offer,
        counters: &Arc<Counters>,
    ) -> Arc<Terms> {
        Arc::new(Terms {
            codec: Arc::clone(codec),
            coalesce: true,
            close_on_bad_body: true,
            role,
            offer,
            timeouts: self.timeouts.clone(),
            unfinished: Arc::new(Unfinished::of(self.unfinished)),
            driver: Arc::clone(&self.driver),
            counters: Arc::clone(counters),
            journal: Arc::clone(&self.journal),
        })
    }

    /// A server that listens nowhere, with one session for all connections.
    pub(crate) fn server(
        &self,
        codecs: &[Arc<dyn Codec>],
        session: Arc<dyn Session>,
        counters: &Arc<Counters>,
    ) -> Arc<Server> {
        let terms = |codec| {
            let role = Role::Server {
                admission: Arc::clone(&self.door),
                authenticates: false,
            };
            self.terms(codec, role, Offer::Services(registry()), counters)
        };
        let open = Box::new(move || Arc::clone(&session));
        let protocols = codecs.iter().map(terms).collect();
        let processor = Arc::clone(&self.processor);
        let bounds = Bounds {
            connections: usize::MAX,
            handshakes: usize::MAX,
            handshake_timeout: Duration::from_secs(10),
        };
        Server::new(protocols, &bounds, processor, open)
    }

    /// A channel that serves nothing.
    pub(crate) fn channel(
        &self,
        dial: Arc<dyn Dial>,
        options: ChannelOptions,
        codec: &Arc<dyn Codec>,
        session: Arc<dyn Session>,
        counters: &Arc<Counters>,
    ) -> Channel {
        let role = Role::Caller {
            credential: Mutex::new(Bytes::new()),
        };
        let terms = self.terms(codec, role, Offer::Nothing, counters);
        let serving = Serving {
            session,
            processor: Arc::clone(&self.processor),
        };
        let runtime = self.driver.handle().clone();
        Channel::new(runtime, Target::Other(dial), options, terms, serving)
    }
}

/// A worker, between whose lanes the clock may go on.
async fn work(processor: Arc<Processor>, driver: Weak<Driver>, panics: Arc<AtomicU64>) {
    loop {
        let woken = poll_fn(|context| processor.poll_filled(context)).await;
        if woken == Woken::Stopped {
            return;
        }
        while let Some(lane) = processor.take() {
            hold_back(true);
            // As the workers of Python's threads do.
            let ran = catch_unwind(AssertUnwindSafe(|| lane.run()));
            hold_back(false);
            if let Some(driver) = driver.upgrade() {
                driver.flush();
            }
            panics.fetch_add(u64::from(ran.is_err()), Ordering::SeqCst);
        }
    }
}

/// The counter of this name; the sum of all labels where it has some.
pub(crate) fn count(counters: &Counters, name: &str) -> u64 {
    let mut all = counters.snapshot().into_iter();
    match all.find(|(other, _)| *other == name).unwrap().1 {
        Value::Number(number) => number,
        Value::Labelled(counts) => counts.iter().map(|(_, count)| count).sum(),
    }
}
