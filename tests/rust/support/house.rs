//! What the border makes for Python: a runtime, a processor with workers, counters.

use std::io;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use _core::call::{Admission, Journal, Limits, Processor, Session};
use _core::metrics::{Counters, Value};
use _core::net::address::Address;
use _core::net::client::{Channel, ChannelOptions, Serving, Target};
use _core::net::server::{Bounds, Cut, Listener, OpenSession, Server};
use _core::net::terms::{Offer, Role, Terms};
use _core::net::{Crew, Runtime, Timeouts, Unfinished};
use _core::wire::baidu_std::BaiduStdCodec;
use _core::wire::hulu::HuluCodec;
use _core::wire::indexed::{IndexedCodec, Layout};
use _core::wire::sofa::SofaCodec;
use _core::wire::{Codec, limits};
use bytes::Bytes;

use super::{Desk, Gate, Notes, PATIENCE, eventually, ms, registry};

/// Threads that run handlers.
pub(crate) const WORKERS: usize = 4;

pub(crate) fn baidu() -> Arc<dyn Codec> {
    Arc::new(BaiduStdCodec::new(limits::MESSAGE_BYTES))
}

pub(crate) fn hulu() -> Arc<dyn Codec> {
    Arc::new(HuluCodec::new(limits::MESSAGE_BYTES))
}

pub(crate) fn sofa() -> Arc<dyn Codec> {
    Arc::new(SofaCodec::new(limits::MESSAGE_BYTES))
}

pub(crate) fn indexed(layout: Layout) -> Arc<dyn Codec> {
    Arc::new(IndexedCodec::new(layout.checked().unwrap()))
}

/// How a server is set up.
pub(crate) struct Setup {
    pub(crate) codecs: Vec<Arc<dyn Codec>>,
    pub(crate) limits: Limits,
    /// Bounds of single methods.
    pub(crate) methods: Vec<Option<usize>>,
    pub(crate) bounds: Bounds,
    pub(crate) timeouts: Timeouts,
    /// Bytes of unfinished frames.
    pub(crate) unfinished: usize,
    pub(crate) authenticates: bool,
}

impl Setup {
    /// A server of one protocol, with room for everybody.
    pub(crate) fn of(codec: &Arc<dyn Codec>) -> Self {
        Self {
            codecs: vec![Arc::clone(codec)],
            limits: Limits {
                concurrency: None,
                queued: usize::MAX,
                queue_time: Duration::MAX,
            },
            methods: Vec::new(),
            bounds: Bounds {
                connections: usize::MAX,
                handshakes: usize::MAX,
                handshake_timeout: Duration::from_secs(10),
            },
            timeouts: patience(),
            unfinished: usize::MAX,
            authenticates: false,
        }
    }
}

/// That of a server or channel with peers that are let do as they like.
pub(crate) fn patience() -> Timeouts {
    Timeouts {
        idle: None,
        frame: Duration::from_secs(3600),
        write: Duration::from_secs(3600),
    }
}

/// A runtime, a processor with workers, counters.
pub(crate) struct House {
    runtime: Option<Runtime>,
    processor: Arc<Processor>,
    workers: Vec<JoinHandle<()>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) gate: Arc<Gate>,
    sessions: Arc<Mutex<Vec<Arc<Notes>>>>,
}

impl House {
    pub(crate) fn new() -> Self {
        let processor = Arc::new(Processor::default());
        let runtime = Runtime::start().unwrap();
        let crew = Arc::new(Crew::new(
            Arc::clone(&processor),
            Arc::clone(runtime.driver()),
        ));
        let work = |_| {
            let crew = Arc::clone(&crew);
            thread::spawn(move || {
                let mut worker = crew.worker();
                while worker.wait() {
                    while let Some(lane) = worker.take() {
                        lane.run();
                    }
                }
            })
        };
        Self {
            runtime: Some(runtime),
            workers: (0..WORKERS).map(work).collect(),
            processor,
            counters: Arc::default(),
            gate: Arc::default(),
            sessions: Arc::default(),
        }
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().unwrap()
    }

    /// Stops the I/O thread under everything that still runs on it.
    pub(crate) fn stop_runtime(&mut self) {
        self.runtime = None;
    }

    fn terms(
        &self,
        codec: Arc<dyn Codec>,
        role: Role,
        offer: Offer,
        (timeouts, unfinished): (Timeouts, Arc<Unfinished>),
    ) -> Arc<Terms> {
        Arc::new(Terms {
            codec,
            coalesce: true,
            close_on_bad_body: true,
            role,
            offer,
            timeouts,
            unfinished,
            driver: Arc::clone(self.runtime().driver()),
            counters: Arc::clone(&self.counters),
            journal: Arc::new(Journal::default()),
        })
    }

    pub(crate) fn listen(&self, address: &Address) -> io::Result<Listener> {
        let address = address.clone();
        self.runtime()
            .run(async move { Listener::bind(&address, false).await })
            .unwrap()
    }

    fn server(&self, setup: Setup, offer: &Offer, open_session: OpenSession) -> Arc<Server> {
        let admission = Arc::new(Admission::new(setup.limits, vec![setup.methods]));
        let unfinished = Arc::new(Unfinished::of(setup.unfinished));
        let terms = |codec| {
            let role = Role::Server {
                admission: Arc::clone(&admission),
                authenticates: setup.authenticates,
            };
            let patience = (setup.timeouts.clone(), Arc::clone(&unfinished));
            self.terms(codec, role, offer.clone(), patience)
        };
        let protocols = setup.codecs.into_iter().map(terms).collect();
        let processor = Arc::clone(&self.processor);
        Server::new(protocols, &setup.bounds, processor, open_session)
    }

    /// A server of the one-way wire, with a session of its own for each connection.
    pub(crate) fn serve_at(&self, listener: Listener) -> Arc<Server> {
        let (gate, sessions) = (Arc::clone(&self.gate), Arc::clone(&self.sessions));
        let open_session: OpenSession = Box::new(move || {
            let notes = Notes::behind(&gate);
            sessions.lock().unwrap().push(Arc::clone(&notes));
            notes
        });
        let setup = Setup::of(&indexed(Layout::default()));
        let server = self.server(setup, &Offer::BySession, open_session);
        server.listen(&self.runtime().handle(), listener);
        server
    }

    /// Serves at `address`; also says where, with the port that the system chose.
    pub(crate) fn serve(&self, address: &Address) -> (Arc<Server>, Address) {
        let listener = self.listen(address).unwrap();
        let address = listener.address().clone();
        (self.serve_at(listener), address)
    }

    /// A server that listens nowhere, with one session for all connections.
    pub(crate) fn desk(&self, setup: Setup) -> (Arc<Server>, Arc<Desk>) {
        let desk = Desk::behind(&self.gate);
        let session = Arc::clone(&desk);
        let open_session: OpenSession = Box::new(move || Arc::clone(&session) as _);
        let offer = Offer::Services(registry());
        (self.server(setup, &offer, open_session), desk)
    }

    /// The same, listening.
    pub(crate) fn serve_desk(
        &self,
        address: &Address,
        setup: Setup,
    ) -> (Arc<Server>, Address, Arc<Desk>) {
        let listener = self.listen(address).unwrap();
        let address = listener.address().clone();
        let (server, desk) = self.desk(setup);
        server.listen(&self.runtime().handle(), listener);
        (server, address, desk)
    }

    pub(crate) fn stop(&self, server: &Arc<Server>, grace: Duration) -> Cut {
        let server = Arc::clone(server);
        self.runtime()
            .run(async move { server.stop(grace).await })
            .unwrap()
    }

    /// The sessions of the connections accepted so far, in their order.
    pub(crate) fn sessions(&self) -> Vec<Arc<Notes>> {
        self.sessions.lock().unwrap().clone()
    }

    /// The session of the connection with this place, once it was told that it is open.
    #[track_caller]
    pub(crate) fn session(&self, place: usize) -> Arc<Notes> {
        eventually("a connection", || {
            let sessions = self.sessions();
            sessions
                .get(place)
                .is_some_and(|notes| !notes.seen().is_empty())
        });
        Arc::clone(&self.sessions()[place])
    }

    /// The bodies that all sessions noted.
    pub(crate) fn noted(&self) -> Vec<Vec<u8>> {
        let sessions = self.sessions();
        sessions.iter().flat_map(|notes| notes.noted()).collect()
    }

    fn channel_with(
        &self,
        target: Target,
        options: ChannelOptions,
        codec: Arc<dyn Codec>,
        credential: &'static [u8],
        (session, offer): (Arc<dyn Session>, Offer),
    ) -> Arc<Channel> {
        let credential = Mutex::new(Bytes::from_static(credential));
        let patience = (patience(), Arc::new(Unfinished::of(usize::MAX)));
        let terms = self.terms(codec, Role::Caller { credential }, offer, patience);
        let processor = Arc::clone(&self.processor);
        let serving = Serving { session, processor };
        let handle = self.runtime().handle();
        Arc::new(Channel::new(handle, target, options, terms, serving))
    }

    /// A channel of the one-way wire.
    pub(crate) fn channel(
        &self,
        target: &Address,
        options: ChannelOptions,
        serves: bool,
    ) -> (Arc<Channel>, Arc<Notes>) {
        let notes = Arc::new(Notes::default());
        let offer = if serves {
            Offer::BySession
        } else {
            Offer::Nothing
        };
        let session: Arc<dyn Session> = Arc::clone(&notes) as _;
        let target = Target::Address(target.clone());
        let codec = indexed(Layout::default());
        let channel = self.channel_with(target, options, codec, b"", (session, offer));
        (channel, notes)
    }

    /// A channel that serves nothing.
    pub(crate) fn caller(
        &self,
        target: Target,
        options: ChannelOptions,
        codec: &Arc<dyn Codec>,
        credential: &'static [u8],
    ) -> Arc<Channel> {
        let nobody = (Arc::new(Notes::default()) as Arc<_>, Offer::Nothing);
        self.channel_with(target, options, Arc::clone(codec), credential, nobody)
    }

    /// A channel that serves its peer, too.
    pub(crate) fn serving_caller(
        &self,
        target: &Address,
        options: ChannelOptions,
        codec: &Arc<dyn Codec>,
    ) -> (Arc<Channel>, Arc<Desk>) {
        self.serving_caller_to(Target::Address(target.clone()), options, codec)
    }

    pub(crate) fn serving_caller_to(
        &self,
        target: Target,
        options: ChannelOptions,
        codec: &Arc<dyn Codec>,
    ) -> (Arc<Channel>, Arc<Desk>) {
        let desk = Desk::behind(&self.gate);
        let session: Arc<dyn Session> = Arc::clone(&desk) as _;
        let somebody = (session, Offer::Services(registry()));
        let channel = self.channel_with(target, options, Arc::clone(codec), b"", somebody);
        (channel, desk)
    }

    pub(crate) fn close(&self, channel: &Arc<Channel>, grace: Duration) {
        let channel = Arc::clone(channel);
        self.runtime()
            .run(async move { channel.close(grace).await })
            .unwrap();
    }

    fn value(&self, name: &str) -> Value {
        let mut all = self.counters.snapshot().into_iter();
        all.find(|(other, _)| *other == name).unwrap().1
    }

    /// The counter of this name.
    pub(crate) fn count(&self, name: &str) -> u64 {
        match self.value(name) {
            Value::Number(number) => number,
            Value::Labelled(counts) => counts.iter().map(|(_, count)| count).sum(),
        }
    }

    /// The counters of this name by their labels.
    pub(crate) fn counts(&self, name: &str) -> Vec<(&'static str, u64)> {
        match self.value(name) {
            Value::Labelled(counts) => counts,
            Value::Number(number) => panic!("{name} is {number}"),
        }
    }
}

impl House {
    /// The counters of this name come to be these, by their labels. What a peer sees may come
    /// before it is counted.
    #[track_caller]
    pub(crate) fn counted(&self, name: &str, expected: &[(&str, u64)]) {
        let start = Instant::now();
        while self.counts(name) != expected && start.elapsed() < PATIENCE / 4 {
            thread::sleep(ms(1));
        }
        assert_eq!(self.counts(name), expected, "{name}");
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.gate.open();
        self.runtime = None;
        self.processor.stop();
        for worker in self.workers.drain(..) {
            let joined = worker.join();
            assert!(joined.is_ok() || thread::panicking(), "a worker panicked");
        }
    }
}
