//! The loop: wait, read, look, send the next.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use crate::load::buffer::Filled;
use crate::load::connection::{Connection, Frame};
use crate::load::plan::{Plan, Progress};
use crate::load::ready::Ready;
use crate::load::report::{Measure, Report};
use crate::load::stream::Stream;
use crate::load::wire::Wire;

const EVENTS: usize = 1024;
const TICK: Duration = Duration::from_millis(20);
/// `watch` is told after so long.
const TOLD_NANOS: u64 = 100_000_000;
const CONNECT: Duration = Duration::from_secs(10);

/// What is left when all calls have ended.
#[derive(Debug)]
pub struct Finished {
    /// What they took.
    pub report: Report,
    /// Open as long as this lives.
    _connections: Vec<Connection>,
}

/// Makes the calls. `watch` is told about ten times a second how far it is; when it returns false,
/// no more calls are made.
///
/// # Errors
/// A connection could not be made or was lost; an answer did not come, was for nobody, or was not
/// as expected; nothing was measured.
pub fn drive<W: Wire>(
    wire: &W,
    body: &[u8],
    plan: &Plan,
    watch: &mut dyn FnMut(Progress) -> bool,
) -> Result<Finished, String> {
    let poll = Poll::new().map_err(|error| error.to_string())?;
    let connections = connect(plan, &poll)?;
    let mut run = Run {
        wire,
        body,
        plan,
        watch,
        poll,
        connections,
        frame: Frame::new(wire, body),
        ready: Ready::default(),
        started: Instant::now(),
        phase: Phase::Warmup,
        measure: None,
        measured_since: 0,
        told: 0,
        last_answer: 0,
        answers: 0,
    };
    run.begin()?;
    run.go()?;
    let answers = run.answers;
    let measure = run.measure.ok_or("nothing was measured")?;
    Ok(Finished {
        report: measure.report(answers),
        _connections: run.connections,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Warmup,
    Measuring,
    /// No new calls; those under way are waited for, since an answer that never comes is a fault.
    Draining,
}

struct Run<'a, W> {
    wire: &'a W,
    body: &'a [u8],
    plan: &'a Plan,
    watch: &'a mut dyn FnMut(Progress) -> bool,
    poll: Poll,
    connections: Vec<Connection>,
    frame: Frame<'a>,
    ready: Ready,
    started: Instant,
    phase: Phase,
    measure: Option<Measure>,
    measured_since: u64,
    /// When `watch` was told last.
    told: u64,
    last_answer: u64,
    /// All there were, before and after the measurement as well.
    answers: u64,
}

impl<W: Wire> Run<'_, W> {
    fn begin(&mut self) -> Result<(), String> {
        let now = self.now();
        for connection in &mut self.connections {
            connection.begin(now);
            connection.flush(self.wire, &mut self.frame).map_err(lost)?;
        }
        Ok(())
    }

    fn go(&mut self) -> Result<(), String> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            self.turn_the_phase()?;
            if self.phase == Phase::Draining && self.open() == 0 {
                return Ok(());
            }
            let patience = if self.ready.is_empty() {
                TICK
            } else {
                Duration::ZERO
            };
            match self.poll.poll(&mut events, Some(patience)) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other.map_err(|error| error.to_string())?,
            }
            for event in &events {
                let Token(place) = event.token();
                if event.is_writable() {
                    self.connections[place]
                        .flush(self.wire, &mut self.frame)
                        .map_err(lost)?;
                }
                if event.is_readable() {
                    self.ready.add(place);
                }
            }
            for _ in 0..self.ready.len() {
                if let Some(place) = self.ready.take() {
                    self.read(place)?;
                }
            }
        }
    }

    fn read(&mut self, place: usize) -> Result<(), String> {
        let connection = &mut self.connections[place];
        let filled = connection.fill().map_err(lost)?;
        if filled == Filled::Ended {
            return Err(format!(
                "the server closed connection {place} with {} calls under way",
                connection.open()
            ));
        }
        // One look at the clock for all answers of a read: they came together.
        let now = nanos(self.started);
        let (phase, most, measure) = (self.phase, self.plan.calls, &mut self.measure);
        let expects = self.plan.expects;
        let (last, answers) = (&mut self.last_answer, &mut self.answers);
        connection.answers::<W>(self.body, expects, now, |since, failure| {
            *last = now;
            *answers += 1;
            if phase == Phase::Measuring
                && let Some(measure) = measure
            {
                measure.call(now - since, failure);
                return measure.calls() < most;
            }
            phase == Phase::Warmup
        })?;
        connection.flush(self.wire, &mut self.frame).map_err(lost)?;
        if filled == Filled::More {
            self.ready.add(place);
        }
        Ok(())
    }

    /// Looks at the clock.
    fn turn_the_phase(&mut self) -> Result<(), String> {
        let now = self.now();
        if now.saturating_sub(self.last_answer) > self.plan.stall.as_nanos() as u64 {
            return Err(format!(
                "no answer for {:?}; {} calls are under way",
                self.plan.stall,
                self.open()
            ));
        }
        let warmup = self.plan.warmup.as_nanos() as u64;
        let end = warmup + self.plan.measured.as_nanos() as u64;
        match (self.phase, &mut self.measure) {
            (Phase::Warmup, _) if now >= warmup => {
                self.measure = Some(Measure::begin(now)?);
                self.measured_since = now;
                self.phase = Phase::Measuring;
            }
            (Phase::Measuring, Some(measure))
                if now >= end || measure.calls() >= self.plan.calls =>
            {
                measure.end(now);
                self.phase = Phase::Draining;
            }
            _ => {}
        }
        if self.phase != Phase::Draining && now.saturating_sub(self.told) > TOLD_NANOS {
            self.told = now;
            if !self.tell(now) {
                if let Some(measure) = &mut self.measure {
                    measure.end(now);
                }
                self.phase = Phase::Draining;
            }
        }
        Ok(())
    }

    fn tell(&mut self, now: u64) -> bool {
        let measure = self.measure.as_ref();
        let measured = measure.map(|_| (now - self.measured_since) as f64 / 1e9);
        (self.watch)(Progress {
            measured,
            calls: measure.map_or(0, Measure::calls),
            failed: measure.map_or(0, Measure::failed),
        })
    }

    fn open(&self) -> usize {
        self.connections.iter().map(Connection::open).sum()
    }

    fn now(&self) -> u64 {
        nanos(self.started)
    }
}

/// Connects one after the other; the server's backlog takes them.
fn connect(plan: &Plan, poll: &Poll) -> Result<Vec<Connection>, String> {
    (0..plan.connections)
        .map(|place| {
            let stream = TcpStream::connect_timeout(&plan.connect, CONNECT)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(CONNECT))?;
            let mut stream = Stream::new(stream, plan.tls.as_deref())?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry()
                .register(stream.socket(), Token(place), interest)?;
            Ok(Connection::new(stream, plan.in_flight))
        })
        .collect::<std::io::Result<_>>()
        .map_err(|error| format!("{}: {error}", plan.connect))
}

fn nanos(since: Instant) -> u64 {
    since.elapsed().as_nanos() as u64
}

fn lost(error: impl std::fmt::Display) -> String {
    format!("a connection was lost: {error}")
}
