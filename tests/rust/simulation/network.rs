//! A network that delays, splits, stalls, cuts and loses, and always does so in the same way for
//! the same seed.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use _core::net::Stream;
use _core::net::client::Dial;
use _core::net::server::Server;
use bytes::Bytes;
use fastrand::Rng;
use tokio::runtime::Handle;
use tokio::select;
use tokio::sync::SetOnce;
use tokio::time::sleep;

use super::ledger::Ledger;
use super::pipe::{Load, Way, pipe};
use super::plant::{Plant, Sower};

/// Time after which a system gives up a peer that is not heard of.
const GIVEN_UP: Duration = Duration::from_secs(30);

/// How bad the network is: faults in a thousand pieces, or in a thousand attempts to connect.
#[derive(Debug, Clone)]
pub(crate) struct Weather {
    /// Microseconds that a piece takes.
    pub(crate) delay: RangeInclusive<u64>,
    /// Most bytes of a piece.
    pub(crate) piece: usize,
    /// Bytes that there is room for on each way.
    pub(crate) room: usize,
    /// It breaks, within a piece.
    pub(crate) cuts: u32,
    /// One way ends, within a piece; the other one goes on.
    pub(crate) ends: u32,
    /// Nothing moves for a while.
    pub(crate) stalls: u32,
    /// Nothing moves any more, and nobody is told.
    pub(crate) losses: u32,
    /// Nobody is there.
    pub(crate) refusals: u32,
    /// No answer.
    pub(crate) silences: u32,
}

/// What becomes of a piece.
enum Fate {
    Arrives,
    Cut,
    End,
    Stall,
    Loss,
}

/// The network between callers and one server at a time.
pub(crate) struct Network {
    me: Weak<Self>,
    runtime: Handle,
    weather: Weather,
    random: Mutex<Rng>,
    server: Mutex<Weak<Server>>,
    ways: Mutex<Vec<Arc<Way>>>,
    healed: SetOnce<()>,
    plant: Option<Plant>,
    ledger: Arc<Ledger>,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("simulation")
    }
}

impl Network {
    pub(crate) fn new(
        runtime: Handle,
        weather: Weather,
        random: Rng,
        plant: Option<Plant>,
        ledger: Arc<Ledger>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            runtime,
            weather,
            random: Mutex::new(random),
            server: Mutex::default(),
            ways: Mutex::default(),
            healed: SetOnce::new(),
            plant,
            ledger,
        })
    }

    /// Leads to this server from now on.
    pub(crate) fn lead_to(&self, server: &Arc<Server>) {
        *self.server.lock().unwrap() = Arc::downgrade(server);
    }

    /// No faults any more; what was lost is found to be so.
    pub(crate) fn heal(&self) {
        self.ledger.note(|| "the network is healed".to_owned());
        let _ = self.healed.set(());
    }

    /// How many connections still have a way.
    pub(crate) fn open_ways(&self) -> usize {
        let ways = self.ways.lock().unwrap();
        ways.iter().filter(|way| !way.is_over()).count()
    }

    fn is_healed(&self) -> bool {
        self.healed.get().is_some()
    }

    /// Waits, at most until all is well.
    async fn pause(&self, pause: Duration) {
        select! {
            biased;
            &() = self.healed.wait() => {}
            () = sleep(pause) => {}
        }
    }

    fn fork(&self) -> Rng {
        self.random.lock().unwrap().fork()
    }

    async fn connect(&self) -> io::Result<Stream> {
        let mut random = self.fork();
        sleep(Duration::from_micros(
            random.u64(self.weather.delay.clone()),
        ))
        .await;
        if !self.is_healed() {
            let dice = random.u32(0..1000);
            if dice < self.weather.refusals {
                return Err(ErrorKind::ConnectionRefused.into());
            }
            if dice < self.weather.refusals + self.weather.silences {
                self.pause(GIVEN_UP).await;
                return Err(ErrorKind::TimedOut.into());
            }
        }
        let server = self.server.lock().unwrap().upgrade();
        let server = server.filter(|server| server.is_accepting());
        let server = server.ok_or(ErrorKind::ConnectionRefused)?;
        Ok(self.lay(&server, &mut random))
    }

    /// Makes a connection and has it carried.
    fn lay(&self, server: &Arc<Server>, random: &mut Rng) -> Stream {
        let (near, far, [there, back]) = pipe(self.weather.room, true);
        let mut all = self.ways.lock().unwrap();
        let number = all.len() / 2;
        for (name, way, other) in [("there", &there, &back), ("back", &back, &there)] {
            let carrier = Carrier {
                network: self.me.upgrade().expect("whoever calls this holds it"),
                name: format!("connection {number} {name}"),
                way: Arc::clone(way),
                other: Arc::clone(other),
                random: random.fork(),
                sower: self.plant.map(|plant| Sower::new(plant, name == "there")),
            };
            self.runtime.spawn(carrier.carry());
            all.push(Arc::clone(way));
        }
        self.ledger.note(|| format!("connection {number} is made"));
        server.welcome(
            &self.runtime,
            Stream::Other(Box::new(far)),
            format!("caller {number}"),
        );
        Stream::Other(Box::new(near))
    }
}

impl Dial for Network {
    fn dial(&self) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send + '_>> {
        Box::pin(self.connect())
    }
}

/// What moves the bytes of one way.
struct Carrier {
    network: Arc<Network>,
    name: String,
    way: Arc<Way>,
    other: Arc<Way>,
    random: Rng,
    sower: Option<Sower>,
}

impl Carrier {
    fn fate(&mut self) -> Fate {
        if self.network.is_healed() {
            return Fate::Arrives;
        }
        let weather = &self.network.weather;
        let mut dice = self.random.u32(0..1000);
        for (chance, fate) in [
            (weather.cuts, Fate::Cut),
            (weather.ends, Fate::End),
            (weather.stalls, Fate::Stall),
            (weather.losses, Fate::Loss),
        ] {
            if dice < chance {
                return fate;
            }
            dice -= chance;
        }
        Fate::Arrives
    }

    async fn carry(mut self) {
        let (way, network) = (Arc::clone(&self.way), Arc::clone(&self.network));
        loop {
            let most = if network.is_healed() {
                usize::MAX
            } else {
                self.random.usize(1..=network.weather.piece)
            };
            let load = poll_fn(|context| way.poll_take(most, context)).await;
            let delay = self.random.u64(network.weather.delay.clone());
            if delay > 0 && !network.is_healed() {
                sleep(Duration::from_micros(delay)).await;
            }
            let bytes = match load {
                Load::Bytes(bytes) => bytes,
                Load::End => return way.end(),
                Load::Broken => return,
            };
            let bytes = match &mut self.sower {
                Some(sower) => sower.sow(&bytes),
                None => bytes,
            };
            if self.bear(&bytes).await {
                return;
            }
        }
    }

    /// Lets a piece meet its fate; says whether that was the end.
    async fn bear(&mut self, bytes: &Bytes) -> bool {
        let (way, network) = (Arc::clone(&self.way), Arc::clone(&self.network));
        let fate = self.fate();
        let some = self.random.usize(0..=bytes.len());
        let note = |what: &str| network.ledger.note(|| format!("{}: {what}", self.name));
        match fate {
            Fate::Arrives => way.deliver(bytes),
            Fate::Stall => {
                note("stalls");
                let pause = self.random.u64(1..=20_000);
                network.pause(Duration::from_millis(pause)).await;
                way.deliver(bytes);
            }
            Fate::Cut => {
                note("is cut");
                way.deliver(&bytes[..some]);
                // What has arrived may be read first, or not.
                let pause = self.random.u64(0..3);
                sleep(Duration::from_millis(pause)).await;
                way.snap(ErrorKind::ConnectionReset);
                self.other.snap(ErrorKind::ConnectionReset);
                return true;
            }
            Fate::End => {
                note("ends early");
                way.deliver(&bytes[..some]);
                way.end();
            }
            Fate::Loss => {
                note("is lost");
                network.pause(GIVEN_UP).await;
                way.snap(ErrorKind::TimedOut);
                self.other.snap(ErrorKind::TimedOut);
                return true;
            }
        }
        false
    }
}
