//! A game: calls through a bad network to servers that come and go, all of it drawn from one
//! number, and at its end the checks.

use std::sync::Arc;
use std::time::Duration;

use _core::call::{Outbound, Waiter};
use _core::metrics::Counters;
use _core::net::client::{Channel, ChannelOptions, Delivery};
use _core::net::hold_back;
use _core::net::server::Server;
use _core::wire::baidu_std::BaiduStdCodec;
use _core::wire::hulu::HuluCodec;
use _core::wire::indexed::{IndexedCodec, Layout, Reply};
use _core::wire::sofa::SofaCodec;
use _core::wire::{Codec, Extras, Payload, limits};
use fastrand::Rng;
use tokio::time::sleep;

use super::actor::{Actor, Part, script};
use super::ledger::{Ledger, left};
use super::network::{Network, Weather};
use super::plant::Plant;
use super::stage::{Stage, method, now};

/// Time in which each call ends once the network is well: more than any handler takes, than the
/// longest pauses between attempts to connect, and than a call waits for the turns of others.
const ENDED_WITHIN: Duration = Duration::from_secs(60);

/// What is drawn for a game.
struct Draw {
    /// Nothing is lost: what was answered must arrive.
    calm: bool,
    codec: Arc<dyn Codec>,
    weather: Weather,
    options: ChannelOptions,
    calls: usize,
    /// Chances in a hundred of each part that is not [`Part::Answer`].
    parts: [(Part, u32); 5],
    /// How often the server is replaced.
    moves: usize,
    /// Time that it has to end calls then.
    grace: Duration,
    random: Rng,
}

fn indexed(id_width: usize, reply: Reply) -> Arc<dyn Codec> {
    let layout = Layout {
        id_width,
        reply,
        ..Layout::default()
    };
    Arc::new(IndexedCodec::new(layout.checked().unwrap()))
}

impl Draw {
    fn new(seed: u64, planted: bool) -> Self {
        let mut random = Rng::with_seed(seed);
        // Two in three play one of these.
        let codec: Arc<dyn Codec> = match random.u32(0..9) {
            _ if planted => Arc::new(BaiduStdCodec::new(limits::MESSAGE_BYTES)),
            0..3 => Arc::new(BaiduStdCodec::new(limits::MESSAGE_BYTES)),
            3..6 => indexed(4, Reply::ById),
            6 => indexed(random.choice([0, 8]).unwrap(), Reply::InOrder),
            7 => Arc::new(HuluCodec::new(limits::MESSAGE_BYTES)),
            _ => Arc::new(SofaCodec::new(limits::MESSAGE_BYTES)),
        };
        let calm = planted || random.u32(0..4) == 0;
        let failures = codec.traits().failures;
        // Where a failure is the end of the connection, it takes other calls along.
        let failing = |most: u32, random: &mut Rng| match (calm, failures) {
            (true, false) => 0,
            _ => random.u32(0..=most),
        };
        Self {
            calm,
            weather: weather(calm, &mut random),
            options: ChannelOptions {
                wait_for_ready: random.u32(0..4) > 0,
                keep_connected: random.u32(0..4) == 0,
                connect_timeout: Duration::from_millis(random.u64(200..5000)),
                backoff_min: Duration::from_millis(5),
                backoff_max: Duration::from_millis(random.u64(50..1000)),
                max_retry: random.u32(0..4),
                pooled: (random.u32(0..5) == 0).then_some(200),
            },
            calls: random.usize(3..40),
            parts: [
                (Part::AnswerLate, random.u32(0..40)),
                (Part::AnswerTwice, random.u32(0..10)),
                (Part::Fail, failing(10, &mut random)),
                (Part::GiveUp, failing(10, &mut random)),
                (Part::Refuse, failing(10, &mut random)),
            ],
            moves: if planted { 0 } else { random.usize(0..3) },
            grace: Duration::from_millis(if calm { 30_000 } else { random.u64(0..3000) }),
            codec,
            random,
        }
    }

    fn part(&mut self) -> Part {
        let mut dice = self.random.u32(0..100);
        for (part, chance) in self.parts {
            if dice < chance {
                return part;
            }
            dice -= chance;
        }
        Part::Answer
    }
}

fn weather(calm: bool, random: &mut Rng) -> Weather {
    let most = if calm { 0 } else { random.u32(0..3) * 10 };
    let mut chance = |often: u32| random.u32(0..=most * often);
    let (cuts, ends, stalls, losses) = (chance(1), chance(1), chance(2), chance(1));
    let (refusals, silences) = (chance(10), chance(5));
    Weather {
        delay: 0..=*random.choice(&[0, 100, 5_000, 100_000]).unwrap(),
        piece: *random.choice(&[3, 50, 2_000, 1 << 16]).unwrap(),
        room: *random.choice(&[100, 4_000, 1 << 16]).unwrap(),
        cuts,
        ends,
        stalls,
        losses,
        refusals,
        silences,
    }
}

/// What became of a game.
#[derive(Debug)]
pub(crate) struct Played {
    /// What cannot be.
    pub(crate) faults: Vec<String>,
    /// What happened, in its order.
    pub(crate) story: String,
}

/// Plays the game that is drawn from `seed`.
pub(crate) fn play(seed: u64, plant: Option<Plant>) -> Played {
    // Pauses between attempts to connect are drawn from the thread's.
    fastrand::seed(seed);
    let stage = Stage::new();
    let played = stage.play(async {
        let draw = Draw::new(seed, plant.is_some());
        Game::new(&stage, draw, plant).play().await
    });
    stage.processor.stop();
    played
}

struct Game<'a> {
    stage: &'a Stage,
    draw: Draw,
    ledger: Arc<Ledger>,
    network: Arc<Network>,
    channel: Channel,
    caller: Arc<Counters>,
    server: Arc<Counters>,
}

impl<'a> Game<'a> {
    fn new(stage: &'a Stage, mut draw: Draw, plant: Option<Plant>) -> Self {
        let (ledger, caller) = (Ledger::new(), Arc::<Counters>::default());
        let network = Network::new(
            stage.driver.handle().clone(),
            draw.weather.clone(),
            draw.random.fork(),
            plant,
            Arc::clone(&ledger),
        );
        let (dial, options) = (Arc::clone(&network), draw.options.clone());
        let nobody = Arc::new(Actor(Arc::clone(&ledger)));
        let channel = stage.channel(dial, options, &draw.codec, nobody, &caller);
        ledger.note(|| format!("{:?} {:?}", draw.codec, draw.weather));
        ledger.note(|| format!("{:?}", draw.options));
        Self {
            stage,
            draw,
            ledger,
            network,
            channel,
            caller,
            server: Arc::default(),
        }
    }

    async fn play(mut self) -> Played {
        let mut faults = Vec::new();
        let moving = self.draw.random.fork();
        let server = self.begin_to_serve();
        let script = self.script();
        let (server, ()) = tokio::join!(self.move_on(server, moving), self.call(script));
        let pause = self.draw.random.u64(0..3000);
        sleep(Duration::from_millis(pause)).await;
        self.network.heal();
        let mut waited = Duration::ZERO;
        while !self.ledger.open_calls().is_empty() && waited < ENDED_WITHIN {
            let moment = Duration::from_millis(50);
            sleep(moment).await;
            waited += moment;
        }
        for number in self.ledger.open_calls() {
            faults.push(format!("call {number} has not ended, and all is well"));
        }
        if !self.is_served().await {
            faults.push("nobody is served, and all is well".to_owned());
        }
        self.channel.close(Duration::from_secs(1)).await;
        let cut = server.stop(Duration::from_secs(1)).await;
        if cut.running > 0 {
            faults.push(format!("a stop left {cut:?}"));
        }
        // What lingers ends by itself.
        sleep(ENDED_WITHIN).await;
        faults.extend(self.faults());
        self.stage.journal.close();
        while let Some(logged) = self.stage.journal.take() {
            for line in logged {
                self.ledger.note(|| format!("was logged: {}", line.text));
            }
        }
        let story = self.ledger.story();
        Played { faults, story }
    }

    fn faults(&self) -> Vec<String> {
        let given_up = self.ledger.given_up();
        let mut faults = self.ledger.faults(self.draw.calm);
        faults.extend(left("the channel", &self.caller, given_up));
        faults.extend(left("the servers", &self.server, 0));
        let (waiting, ways) = (self.stage.door.waiting_calls(), self.network.open_ways());
        if self.stage.panics() > 0 {
            faults.push("a worker panicked".to_owned());
        }
        if waiting + ways > 0 {
            faults.push(format!("{waiting} calls wait, {ways} ways are open"));
        }
        faults
    }

    /// Has the network lead to a new server.
    fn begin_to_serve(&self) -> Arc<Server> {
        let session = Arc::new(Actor(Arc::clone(&self.ledger)));
        let codecs = [Arc::clone(&self.draw.codec)];
        let server = self.stage.server(&codecs, session, &self.server);
        self.network.lead_to(&server);
        server
    }

    /// Replaces the server a few times; the last one is left.
    async fn move_on(&self, mut server: Arc<Server>, mut random: Rng) -> Arc<Server> {
        for _ in 0..self.draw.moves {
            let pause = random.u64(0..1500);
            sleep(Duration::from_millis(pause)).await;
            self.ledger.note(|| "the server moves".to_owned());
            let next = self.begin_to_serve();
            server.stop(self.draw.grace).await;
            server = next;
        }
        server
    }

    /// The bodies of all calls, and how long their callers wait.
    fn script(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        for number in 0..self.draw.calls {
            let part = self.draw.part();
            let random = &mut self.draw.random;
            let most = *random.choice(&[0, 10, 300, 6_000]).unwrap();
            let body = script(number, part, random.u8(..), random.usize(0..=most));
            let limit = match random.u32(0..4) {
                0 => Some(Duration::from_millis(random.u64(1..2000))),
                1 => Some(Duration::from_secs(20)),
                _ => None,
            };
            let pause = match random.u32(0..3) {
                0 => random.u64(1..100),
                _ => 0,
            };
            let cancels = (random.u32(0..20) == 0).then(|| random.usize(0..=number));
            self.ledger.open(body.clone());
            steps.push(Step {
                body,
                limit,
                held: random.bool(),
                pause: Duration::from_millis(pause),
                cancels,
            });
        }
        steps
    }

    async fn call(&self, script: Vec<Step>) {
        let mut deliveries = Vec::new();
        for (number, step) in script.into_iter().enumerate() {
            let cancels = step.cancels;
            let (pause, held) = (step.pause, step.held);
            hold_back(held);
            deliveries.push(self.make(number, step.body, step.limit));
            hold_back(false);
            if let Some(other) = cancels {
                self.ledger.cancel(other);
                deliveries[other].cancel();
            }
            if !pause.is_zero() {
                // As at the end of a batch.
                self.stage.driver.flush();
                sleep(pause).await;
            }
        }
        self.stage.driver.flush();
    }

    fn make(&self, number: usize, body: Vec<u8>, limit: Option<Duration>) -> Delivery {
        self.ledger.note(|| format!("call {number} is made"));
        let ledger = Arc::clone(&self.ledger);
        let waiter = Waiter::new(move |end| ledger.told(number, end));
        let call = Outbound {
            method: method(1),
            body: Payload::plain(body.into()),
            extras: Extras::default(),
            deadline: limit.map(|limit| now() + limit),
        };
        self.channel.call(call, waiter)
    }

    /// Whether a call is answered, at the latest when a channel that does not wait has found the
    /// server again.
    async fn is_served(&self) -> bool {
        for number in self.draw.calls..self.draw.calls + 5 {
            let body = script(number, Part::Answer, 0, 0);
            self.ledger.open(body.clone());
            drop(self.make(number, body, Some(Duration::from_secs(5))));
            sleep(Duration::from_secs(6)).await;
            if self.ledger.is_well(number) {
                return true;
            }
        }
        false
    }
}

/// One call that is to be made.
struct Step {
    body: Vec<u8>,
    limit: Option<Duration>,
    /// It is written at the end of a batch.
    held: bool,
    /// Time before the next one.
    pause: Duration,
    /// Which call is given up after it.
    cancels: Option<usize>,
}
