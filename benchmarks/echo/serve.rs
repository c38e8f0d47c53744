//! The loop: accept, and give each connection that may be read its turn.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};

use crate::connection::{Answer, Connection, Turn};
use _core::load::ready::Ready;

const LISTENER: Token = Token(usize::MAX);
const EVENTS: usize = 1024;
const TICK: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Server {
    poll: Poll,
    listener: TcpListener,
    /// By token; places of closed connections are used again.
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    ready: Ready,
}

impl Server {
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let mut listener = TcpListener::bind(address)?;
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            connections: Vec::new(),
            free: Vec::new(),
            ready: Ready::default(),
        })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub(crate) fn run(mut self, answer: Answer, seconds: Duration) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let started = Instant::now();
        while started.elapsed() < seconds {
            let patience = if self.ready.is_empty() {
                TICK
            } else {
                Duration::ZERO
            };
            match self.poll.poll(&mut events, Some(patience)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    Token(place) => self.ready.add(place),
                }
            }
            for _ in 0..self.ready.len() {
                if let Some(place) = self.ready.take() {
                    self.turn(place, answer);
                }
            }
        }
        Ok(())
    }

    fn turn(&mut self, place: usize, answer: Answer) {
        let Some(connection) = &mut self.connections[place] else {
            return;
        };
        match connection.turn(answer) {
            Ok(Turn::Waits) => {}
            Ok(Turn::More) => self.ready.add(place),
            // A caller that went away, or one that speaks something else.
            Ok(Turn::Ended) | Err(_) => {
                self.connections[place] = None;
                self.free.push(place);
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let place = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .register(&mut stream, Token(place), interest)?;
            self.connections[place] = Some(Connection::new(stream));
            self.ready.add(place);
        }
    }
}
