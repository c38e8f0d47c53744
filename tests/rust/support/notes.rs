//! A session of a one-way wire, and others who wait and listen.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use _core::call::{
    CloseKind, CloseReason, EndListener, Event, Link, LossListener, Outcome, Registry, Session,
    Turn,
};
use _core::schema::ServiceSchema;
use prost::Message as _;
use prost_types::{FileDescriptorProto, MethodDescriptorProto, ServiceDescriptorProto};

use super::{NOTE, WAIT, call};

/// A schema of one service in `package` with these methods.
pub(super) fn schema(package: &str, service: &str, methods: &[&str]) -> Arc<ServiceSchema> {
    let method = |name: &&str| MethodDescriptorProto {
        name: Some((*name).to_owned()),
        ..MethodDescriptorProto::default()
    };
    let file = FileDescriptorProto {
        package: (!package.is_empty()).then(|| package.to_owned()),
        service: vec![ServiceDescriptorProto {
            name: Some(service.to_owned()),
            method: methods.iter().map(method).collect(),
            ..ServiceDescriptorProto::default()
        }],
        ..FileDescriptorProto::default()
    };
    let full = match package {
        "" => service.to_owned(),
        package => format!("{package}.{service}"),
    };
    Arc::new(ServiceSchema::new(&full, vec![file.encode_to_vec().into()]).unwrap())
}

fn registry() -> Arc<Registry> {
    let schema = schema("", "Test", &["note", "echo", "wait"]);
    Arc::new(Registry::new(vec![schema], Some(0)).unwrap())
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

    pub(crate) fn pass(&self) {
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

/// A session that writes down what it is given, and follows the three methods.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    gate: Arc<Gate>,
    seen: Mutex<Vec<Seen>>,
    link: Mutex<Option<Arc<dyn Link>>>,
}

impl Notes {
    pub(crate) fn behind(gate: &Arc<Gate>) -> Arc<Self> {
        Arc::new(Self {
            gate: Arc::clone(gate),
            ..Self::default()
        })
    }

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
                link.serve(registry());
            }
            Event::Credential(credential, _) => panic!("nobody asked for {credential:?}"),
            Event::Call(incoming) => {
                let method = u16::try_from(incoming.place.method).unwrap();
                let body = incoming.body.bytes;
                note(Seen::Call(method, body.to_vec()));
                if method == WAIT {
                    self.gate.pass();
                }
                if method != NOTE {
                    // A peer that is gone gets no echo.
                    let _ = call(link, 0, &body);
                }
                incoming.ticket.finish(Outcome::Ok);
            }
            Event::Closed(reason) => {
                note(Seen::Closed(reason.kind));
                link.finish(CloseReason::new(CloseKind::Closed, "nothing more to say"));
            }
        }
    }
}

/// Somebody who counts how often he was told of a loss, or of the end of a call.
#[derive(Debug, Default)]
pub(crate) struct Mourner(AtomicU32);

impl LossListener for Mourner {
    fn lost(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl EndListener for Mourner {
    fn ended(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Mourner {
    pub(crate) fn told(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}
