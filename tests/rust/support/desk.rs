//! A session of wires with answers.

use std::sync::{Arc, Mutex};

use _core::call::{Call, CloseKind, CloseReason, Event, Link, Registry, Session, Turn};
use _core::status::{Code, Status};
use _core::wire::{Body, Extras, MethodName, Parts, Payload};

use super::notes::schema;
use super::{ECHO, Gate, NOTE, WAIT, eventually};

/// The method whose calls are kept for the test to end.
pub(crate) const KEEP: u16 = 3;

/// What callers must say where they are asked.
pub(crate) const SECRET: &[u8] = b"swordfish";

const METHODS: [&str; 4] = ["note", "echo", "wait", "keep"];

/// The service of all tests on wires with answers.
pub(crate) fn registry() -> Arc<Registry> {
    let schema = schema("game", "Desk", &METHODS);
    Arc::new(Registry::new(vec![schema], Some(0)).unwrap())
}

/// All names of the method with this index, be there one or not.
pub(crate) fn method(index: u32) -> Arc<MethodName> {
    let name = METHODS.get(index as usize).copied().unwrap_or("missing");
    Arc::new(MethodName {
        service: "game.Desk".to_owned(),
        method: name.to_owned(),
        index,
    })
}

/// One event that the session was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Happened {
    Opened,
    Credential(Vec<u8>),
    /// A call was run.
    Ran(u16, Vec<u8>),
    /// A call had ended before it could be run.
    Skipped,
    Closed(CloseKind),
}

/// A session for all connections of a server, or of a channel.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    gate: Arc<Gate>,
    happened: Mutex<Vec<Happened>>,
    links: Mutex<Vec<Arc<dyn Link>>>,
    kept: Mutex<Vec<Call>>,
}

impl Desk {
    pub(crate) fn behind(gate: &Arc<Gate>) -> Arc<Self> {
        Arc::new(Self {
            gate: Arc::clone(gate),
            ..Self::default()
        })
    }

    pub(crate) fn happened(&self) -> Vec<Happened> {
        self.happened.lock().unwrap().clone()
    }

    /// How many calls of a method were run.
    pub(crate) fn ran(&self, method: u16) -> usize {
        let is = |happened: &&Happened| matches!(happened, Happened::Ran(ran, _) if *ran == method);
        self.happened.lock().unwrap().iter().filter(is).count()
    }

    /// How the connections ended that have.
    pub(crate) fn closes(&self) -> Vec<CloseKind> {
        let kind = |happened: &Happened| match happened {
            Happened::Closed(kind) => Some(*kind),
            _ => None,
        };
        let happened = self.happened.lock().unwrap();
        happened.iter().filter_map(kind).collect()
    }

    /// The connection that was opened at this place.
    #[track_caller]
    pub(crate) fn link(&self, place: usize) -> Arc<dyn Link> {
        eventually("a connection", || self.links.lock().unwrap().len() > place);
        Arc::clone(&self.links.lock().unwrap()[place])
    }

    /// Takes the calls that were kept, once there are as many.
    #[track_caller]
    pub(crate) fn kept(&self, count: usize) -> Vec<Call> {
        eventually("the calls", || self.kept.lock().unwrap().len() >= count);
        let kept = std::mem::take(&mut *self.kept.lock().unwrap());
        assert_eq!(kept.len(), count);
        kept
    }

    /// The same for one call.
    #[track_caller]
    pub(crate) fn kept_one(&self) -> Call {
        self.kept(1).remove(0)
    }

    fn run(&self, call: Call) {
        let method = u16::try_from(call.place.method).unwrap();
        let note = |happened| self.happened.lock().unwrap().push(happened);
        if call.ticket.is_ended() {
            return note(Happened::Skipped);
        }
        note(Happened::Ran(method, call.body.bytes.to_vec()));
        match method {
            NOTE => {
                call.ticket.respond(Body::default(), &Extras::NONE);
            }
            ECHO | WAIT => {
                if method == WAIT {
                    self.gate.pass();
                }
                let attachment = call.extras.attachment().to_vec().into();
                let extras = Extras::from(Parts {
                    attachment,
                    ..Parts::default()
                });
                call.ticket.respond(&call.body, &extras);
            }
            _ => self.kept.lock().unwrap().push(call),
        }
    }
}

impl Session for Desk {
    fn handle(&self, link: &Arc<dyn Link>, event: Event, _: &mut Turn<'_>) {
        let note = |happened| self.happened.lock().unwrap().push(happened);
        match event {
            Event::Opened => {
                self.links.lock().unwrap().push(Arc::clone(link));
                note(Happened::Opened);
            }
            Event::Credential(credential, _) => {
                note(Happened::Credential(credential.to_vec()));
                link.judge(if credential == SECRET {
                    Ok(())
                } else {
                    Err(Status::new(Code::Unauthenticated, "who are you?"))
                });
            }
            Event::Call(call) => self.run(call),
            Event::Closed(reason) => {
                note(Happened::Closed(reason.kind));
                link.finish(CloseReason::new(CloseKind::Closed, "nothing more to say"));
            }
        }
    }
}
