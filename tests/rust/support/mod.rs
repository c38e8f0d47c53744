//! What the tests on sockets share: a house with everything but Python in it.

// Each test file is a crate of its own, and none uses all of this.
#![allow(dead_code)]

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use _core::call::{
    CloseKind, CloseReason, Event, Journal, Lane, Link, LossListener, Processor, Session, Turn,
};
use _core::metrics::{Counters, Value};
use _core::net::Runtime;
use _core::net::address::Address;
use _core::net::client::{Channel, ChannelOptions};
use _core::net::connection::{Offer, Terms};
use _core::net::server::{Cut, Listener, OpenSession, Server};
use _core::schema::ServiceSchema;
use _core::wire::indexed::{IndexedCodec, Layout};
use prost::Message as _;
use prost_types::{FileDescriptorProto, MethodDescriptorProto, ServiceDescriptorProto};

/// The method that only notes what it was given.
pub(crate) const NOTE: u16 = 0;
/// The method that sends its body back as a call of the peer's method 0.
pub(crate) const ECHO: u16 = 1;
/// The method that waits for the gate, then echoes.
pub(crate) const WAIT: u16 = 2;

/// More than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn schema() -> Arc<ServiceSchema> {
    let method = |name: &str| MethodDescriptorProto {
        name: Some(name.to_owned()),
        ..MethodDescriptorProto::default()
    };
    let file = FileDescriptorProto {
        service: vec![ServiceDescriptorProto {
            name: Some("Test".to_owned()),
            method: ["note", "echo", "wait"].into_iter().map(method).collect(),
            ..ServiceDescriptorProto::default()
        }],
        ..FileDescriptorProto::default()
    };
    Arc::new(ServiceSchema::new("Test", vec![file.encode_to_vec().into()]).unwrap())
}

/// What handlers of [`WAIT`] wait for; open at first.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    shut: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub(crate) fn shut(&self) {
        *self.shut.lock().unwrap() = true;
    }

    pub(crate) fn open(&self) {
        *self.shut.lock().unwrap() = false;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let shut = self.shut.lock().unwrap();
        drop(self.opened.wait_while(shut, |shut| *shut).unwrap());
    }
}

/// One event that a session was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Opened,
    Call(u16, Vec<u8>),
    Closed(CloseKind),
}

/// A session that writes down what it is given, and follows the three methods above.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    gate: Arc<Gate>,
    seen: Mutex<Vec<Seen>>,
    link: Mutex<Option<Arc<dyn Link>>>,
}

impl Notes {
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The bodies of all calls of [`NOTE`].
    pub(crate) fn noted(&self) -> Vec<Vec<u8>> {
        let body = |seen| match seen {
            Seen::Call(NOTE, body) => Some(body),
            _ => None,
        };
        self.seen().into_iter().filter_map(body).collect()
    }

    /// The peer of the connection that was opened last.
    pub(crate) fn link(&self) -> Arc<dyn Link> {
        Arc::clone(self.link.lock().unwrap().as_ref().unwrap())
    }

    pub(crate) fn closed(&self) -> Option<CloseKind> {
        match self.seen().last() {
            Some(Seen::Closed(kind)) => Some(*kind),
            _ => None,
        }
    }
}

impl Session for Notes {
    fn handle(&self, link: &Arc<dyn Link>, event: Event, _: &mut Turn<'_>) {
        let note = |seen| self.seen.lock().unwrap().push(seen);
        match event {
            Event::Opened => {
                *self.link.lock().unwrap() = Some(Arc::clone(link));
                note(Seen::Opened);
                link.serve(schema());
            }
            Event::Call(call) => {
                let method = u16::try_from(call.method).unwrap();
                note(Seen::Call(method, call.body.to_vec()));
                if method == WAIT {
                    self.gate.pass();
                }
                if method != NOTE {
                    // A peer that is gone gets no echo.
                    let _ = link.call(0, &call.body);
                }
            }
            Event::Closed(reason) => {
                note(Seen::Closed(reason.kind));
                link.finish(CloseReason::new(CloseKind::Closed, "nothing more to say"));
            }
        }
    }
}

/// Somebody who counts how often he was told of a loss.
#[derive(Debug, Default)]
pub(crate) struct Mourner(AtomicU32);

impl LossListener for Mourner {
    fn lost(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Mourner {
    pub(crate) fn told(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A runtime, a processor with workers, counters; what the border makes for Python.
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
        let work = |_| {
            let processor = Arc::clone(&processor);
            thread::spawn(move || {
                while let Some(lane) = processor.next() {
                    lane.run();
                }
            })
        };
        Self {
            runtime: Some(Runtime::start().unwrap()),
            workers: (0..4).map(work).collect(),
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

    fn terms(&self, serves: bool) -> Arc<Terms> {
        Arc::new(Terms {
            codec: Arc::new(IndexedCodec::new(Layout::default())),
            coalesce: true,
            offer: if serves {
                Offer::BySession
            } else {
                Offer::Nothing
            },
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

    pub(crate) fn serve_at(&self, listener: Listener) -> Arc<Server> {
        let (gate, sessions) = (Arc::clone(&self.gate), Arc::clone(&self.sessions));
        let open_session: OpenSession = Box::new(move || {
            let notes = Arc::new(Notes {
                gate: Arc::clone(&gate),
                ..Notes::default()
            });
            sessions.lock().unwrap().push(Arc::clone(&notes));
            notes
        });
        let processor = Arc::clone(&self.processor);
        let handle = self.runtime().handle();
        Server::start(&handle, listener, self.terms(true), processor, open_session)
    }

    /// Serves at `address`; also says where, with the port that the system chose.
    pub(crate) fn serve(&self, address: &Address) -> (Arc<Server>, Address) {
        let listener = self.listen(address).unwrap();
        let address = listener.address().clone();
        (self.serve_at(listener), address)
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

    pub(crate) fn channel(
        &self,
        target: &Address,
        options: ChannelOptions,
        serves: bool,
    ) -> (Arc<Channel>, Arc<Notes>) {
        let notes = Arc::new(Notes::default());
        let session: Arc<dyn Session> = Arc::clone(&notes) as _;
        let lane = Lane::new(session, Arc::clone(&self.processor));
        let handle = self.runtime().handle();
        let channel = Channel::new(handle, target.clone(), options, self.terms(serves), lane);
        (channel, notes)
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

/// A folder that goes away with its value.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("callmethod-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The address of a Unix socket in it.
    pub(crate) fn address(&self) -> Address {
        Address::Unix(self.file("socket"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left lies in the system's folder for such things.
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn loopback() -> Address {
    "127.0.0.1:0".parse().unwrap()
}

/// A frame of the default layout.
pub(crate) fn frame(index: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(2 + body.len()).unwrap();
    [&length.to_le_bytes()[..], &index.to_le_bytes(), body].concat()
}

/// A peer on a bare socket.
pub(crate) enum Peer {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Peer {
    pub(crate) fn connect(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port))?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Ok(Self::Tcp(stream))
            }
            Address::Unix(path) => Ok(Self::unix(UnixStream::connect(path)?)),
        }
    }

    pub(crate) fn unix(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self::Unix(stream)
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Tcp(stream) => stream,
            Self::Unix(_) => panic!("a Unix socket"),
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Unix(stream) => stream.write_all(bytes),
        }
        .unwrap();
    }

    /// Says that nothing more will come.
    pub(crate) fn end(&self) {
        let how = std::net::Shutdown::Write;
        match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Unix(stream) => stream.shutdown(how),
        }
        .unwrap();
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.read_exact(bytes),
            Self::Unix(stream) => stream.read_exact(bytes),
        }
    }

    /// The next frame; `None` at the end of the stream, however it ended.
    pub(crate) fn receive(&mut self) -> Option<(u16, Vec<u8>)> {
        let mut head = [0; 6];
        match self.read(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("nothing came"),
            Err(_) => return None,
        }
        let (length, index) = head.split_at(4);
        let length = u32::from_le_bytes(length.try_into().unwrap());
        let mut body = vec![0; length as usize - 2];
        self.read(&mut body).ok()?;
        Some((u16::from_le_bytes(index.try_into().unwrap()), body))
    }

    /// All bodies up to the end of the stream.
    pub(crate) fn drain(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.receive())
            .map(|(_, body)| body)
            .collect()
    }
}

/// Whether nobody listens at a path any more.
pub(crate) fn is_gone(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err()
}

/// The number as a body that sorts by it.
pub(crate) fn numbered(number: u32) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}
