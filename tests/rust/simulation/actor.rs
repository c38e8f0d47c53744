//! Who serves in a game: does with each call what is written in it.

use std::sync::Arc;
use std::time::Duration;

use _core::call::{Call, CloseKind, CloseReason, Event, Link, Session, Turn};
use _core::status::{Code, Status};
use _core::wire::baidu_std::errno;
use _core::wire::{Extras, Payload};
use tokio::time::sleep;

use super::ledger::Ledger;

/// What a handler does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Part {
    /// Answers at once.
    Answer,
    /// Answers after a while.
    AnswerLate,
    /// Answers, and answers again.
    AnswerTwice,
    /// Says that it failed.
    Fail,
    /// Lets go of it.
    GiveUp,
    /// Does not run it, since there is too much to do.
    Refuse,
}

impl Part {
    const ALL: [Self; 6] = [
        Self::Answer,
        Self::AnswerLate,
        Self::AnswerTwice,
        Self::Fail,
        Self::GiveUp,
        Self::Refuse,
    ];
}

/// The body of a call: its number, what is to be done with it, how many milliseconds that takes,
/// and so many bytes more.
pub(crate) fn script(number: usize, part: Part, pause: u8, more: usize) -> Vec<u8> {
    let number = u16::try_from(number).unwrap().to_be_bytes();
    let mut body = vec![number[0], number[1], part as u8, pause];
    body.resize(body.len() + more, 7);
    body
}

/// The session of all connections of a server.
#[derive(Debug)]
pub(crate) struct Actor(pub(crate) Arc<Ledger>);

impl Actor {
    fn run(&self, call: Call) {
        if call.ticket.is_ended() {
            return;
        }
        let body = &call.body.bytes;
        let number = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let (part, pause) = (Part::ALL[usize::from(body[2])], body[3]);
        if part != Part::Refuse {
            self.0.ran(number);
        }
        let ledger = Arc::clone(&self.0);
        match part {
            Part::Answer => answer(&ledger, number, &call),
            Part::AnswerLate => drop(tokio::spawn(async move {
                sleep(Duration::from_millis(pause.into())).await;
                answer(&ledger, number, &call);
            })),
            Part::AnswerTwice => {
                answer(&ledger, number, &call);
                answer(&ledger, number, &call);
            }
            Part::Fail => {
                let status = Status::new(Code::Aborted, "so it was written");
                call.ticket.fail(&status);
            }
            Part::GiveUp => drop(call),
            Part::Refuse => {
                let status = Status::new(Code::ResourceExhausted, "too much to do");
                call.ticket.fail(&status.with_native(errno::ELIMIT));
            }
        }
    }
}

fn answer(ledger: &Ledger, number: usize, call: &Call) {
    let body = Payload::plain(call.body.bytes.clone());
    let counts = call.ticket.respond(&body, &Extras::NONE);
    ledger.answered(number, counts);
}

impl Session for Actor {
    fn handle(&self, link: &Arc<dyn Link>, event: Event, _: &mut Turn<'_>) {
        match event {
            Event::Opened | Event::Credential(..) => {}
            Event::Call(call) => self.run(call),
            Event::Closed(_) => link.finish(CloseReason::new(CloseKind::Closed, "all is said")),
        }
    }
}
