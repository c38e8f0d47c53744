//! The calls that came in and are still to be answered, and the answers on their way out.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use slab::Slab;

use crate::call::{CloseKind, CloseReason, Deadlines, GOAWAY, Link as _, Reply, ReplyTo, Ticket};
use crate::metrics::Counters;
use crate::net::connection::{Connection, locked};
use crate::net::cork::{self, holds_back};
use crate::net::outgoing::{Accepted, Chunks, Kind, Outgoing, UNWRITTEN_BYTES};
use crate::net::replies::{Kept, Made};
use crate::net::terms::Role;
use crate::status::{Code, Status};
use crate::wire::baidu_std::errno;
use crate::wire::{Answers, Extras, Traits};

/// Answers that may wait for their turn before nothing more is read and no call begins.
const READY_ANSWERS: usize = 1024;
/// Room for open calls that an idle connection keeps.
const SPARE_TICKETS: usize = 128;
/// Unwritten bytes above which a caller refuses no more calls and ends the connection.
const REFUSED_BYTES: usize = 4 * UNWRITTEN_BYTES;

/// A call that is still to be answered.
#[derive(Debug)]
struct Watched {
    ticket: Weak<Ticket>,
    deadline: Option<Instant>,
}

#[derive(Debug, Default)]
struct Tickets {
    open: Slab<Watched>,
    deadlines: Deadlines<usize>,
    /// How many calls had a turn, where answers leave in the order of the calls.
    turns: u64,
    /// Where answers leave in the order of the calls: those calls, with the answers that are
    /// ready before their turn.
    order: VecDeque<(u64, Option<Kept>)>,
}

/// The answering half of a connection's state.
#[derive(Debug)]
pub(super) struct Answering {
    tickets: Mutex<Tickets>,
    /// How many answers are ready before their turn; changed under the lock of the tickets, read
    /// without it.
    ready: AtomicUsize,
    /// Bytes of these.
    ready_bytes: AtomicUsize,
    /// The write side is to be closed once all is answered; changed under the lock of the tickets.
    finishing: AtomicBool,
    /// The write side is to be closed once nothing is open and an answer goes along.
    leaving: AtomicBool,
    /// The server stops: no new calls.
    stopping: AtomicBool,
    answers: Answers,
}

impl Answering {
    pub(super) fn new(traits: Traits) -> Self {
        Self {
            tickets: Mutex::default(),
            ready: AtomicUsize::new(0),
            ready_bytes: AtomicUsize::new(0),
            finishing: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            answers: traits.answers,
        }
    }

    /// Whether more answers wait for their turn than the bounds divided by `part` allow.
    fn is_crowded(&self, part: usize) -> bool {
        self.ready.load(Ordering::Relaxed) > READY_ANSWERS / part
            || self.ready_bytes.load(Ordering::Relaxed) > UNWRITTEN_BYTES / part
    }

    /// Keeps an eye on a call, whose ticket `ticket` makes when it is told where its answer goes.
    /// Also says whether its deadline is now the next one.
    pub(super) fn watch(
        &self,
        id: Option<u64>,
        deadline: Option<Instant>,
        ticket: impl FnOnce(ReplyTo) -> Ticket,
    ) -> (Arc<Ticket>, bool) {
        let mut tickets = locked(&self.tickets);
        let turn = if self.answers == Answers::InOrder {
            tickets.turns += 1;
            let turn = tickets.turns;
            tickets.order.push_back((turn, None));
            turn
        } else {
            0
        };
        let entry = tickets.open.vacant_entry();
        let place = entry.key();
        let ticket = Arc::new(ticket(ReplyTo { id, place, turn }));
        entry.insert(Watched {
            ticket: Arc::downgrade(&ticket),
            deadline,
        });
        let next = deadline.is_some_and(|deadline| tickets.deadlines.insert(deadline, place));
        (ticket, next)
    }

    /// How many calls are unanswered.
    pub(super) fn open_calls(&self) -> usize {
        locked(&self.tickets).open.len()
    }

    /// When the next call runs out of time.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        locked(&self.tickets).deadlines.next()
    }

    /// Whether the write side may be closed now; else it is when the last call is answered.
    pub(super) fn finish_when_empty(&self) -> bool {
        let tickets = locked(&self.tickets);
        self.finishing.store(true, Ordering::Release);
        tickets.open.is_empty()
    }

    /// Has the write side closed with the next answer after which no call is open.
    pub(super) fn end_with_an_answer(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// Takes no new calls; says whether it did until now.
    pub(super) fn stop(&self) -> bool {
        !self.stopping.swap(true, Ordering::AcqRel)
    }

    /// Whether the write side is to be closed once all is answered.
    pub(super) fn is_finishing(&self) -> bool {
        self.finishing.load(Ordering::Acquire)
    }

    /// Why new calls are refused, if they are.
    pub(super) fn takes_no_calls(&self) -> Option<&'static str> {
        if self.stopping.load(Ordering::Acquire) {
            Some("the server stops")
        } else if self.is_finishing() {
            Some("this connection is being closed")
        } else {
            None
        }
    }
}

impl Connection {
    /// Ends the calls whose time is up at `now`.
    pub(super) fn expire_tickets(&self, now: Instant) {
        loop {
            let due = {
                let mut tickets = locked(&self.answering.tickets);
                let Some(place) = tickets.deadlines.pop_due(now) else {
                    return;
                };
                tickets
                    .open
                    .get(place)
                    .and_then(|call| call.ticket.upgrade())
            };
            if let Some(ticket) = due {
                ticket.expire();
            }
        }
    }

    /// Ends all calls: nobody is left to answer to.
    pub(super) fn lose_tickets(&self) {
        let open: Vec<_> = locked(&self.answering.tickets)
            .open
            .iter()
            .filter_map(|(_, call)| call.ticket.upgrade())
            .collect();
        for ticket in open {
            ticket.lose();
        }
    }

    /// Says how a call ended, and takes it off the list. Gives the code of the failure that was
    /// said instead of the answer.
    pub(super) fn settle(&self, to: ReplyTo, answer: Option<Reply<'_>>) -> Option<Code> {
        if self.answering.answers == Answers::Never {
            return None;
        }
        let mut replaced = None;
        if let Some(reply) = answer
            && let Some(made) = self.made(to.id, reply, &mut replaced)
        {
            match self.answering.answers {
                Answers::InOrder => self.write_in_turn(to.turn, made.kept()),
                _ => self.write_reply(&made),
            }
        }
        self.forget(to.place);
        replaced
    }

    fn forget(&self, place: usize) {
        let mut tickets = locked(&self.answering.tickets);
        if let Some(call) = tickets.open.try_remove(place)
            && let Some(deadline) = call.deadline
        {
            tickets.deadlines.remove(deadline, place);
        }
        if tickets.open.capacity() > SPARE_TICKETS && tickets.open.is_empty() {
            tickets.open = Slab::new();
        }
        let empty = tickets.open.is_empty();
        drop(tickets);
        if empty && self.answering.is_finishing() {
            self.end_writing();
        } else if self.answering.is_leaving() {
            if empty && !locked(&self.outgoing).has_unread() {
                self.finish(CloseReason::server_stopped());
            }
            if !holds_back() {
                self.uncork();
            }
        }
    }

    /// Writes our end of stream, together with the last answer where that is still here.
    pub(super) fn end_writing(&self) {
        locked(&self.outgoing).finish();
        if !holds_back() {
            // What becomes of it, the connection's task will find.
            let _ = self.flush();
        }
        self.wake_writer.notify_one();
    }

    /// Answers a call that was not let in.
    pub(super) fn refuse(&self, id: Option<u64>, status: &Status) {
        if let Some(made) = self.made_failure(id, status, &Extras::NONE) {
            self.write_reply(&made);
        }
    }

    /// Whether the peer may be refused more. A caller reads on whatever waits to be written, so it
    /// lets go of a peer that calls on and does not read what it is told.
    pub(super) fn may_refuse(&self) -> Result<(), CloseReason> {
        let unwritten = locked(&self.outgoing).unwritten();
        if unwritten <= REFUSED_BYTES || matches!(self.terms.role, Role::Server { .. }) {
            return Ok(());
        }
        let text = format!("the peer calls on and has not read {unwritten} bytes");
        Err(CloseReason::new(CloseKind::WriteFailed, text))
    }

    /// Tells a caller who understands it, if it is one, to make its next calls elsewhere.
    pub(super) fn go_away(&self, why: &str) -> bool {
        let moves = self.calling.peer_moves();
        if moves {
            let status = Status::new(Code::Unavailable, why);
            self.refuse(Some(GOAWAY), &status.with_native(errno::ELOGOFF));
        }
        moves
    }

    fn write_in_turn(&self, turn: u64, made: Kept) {
        let Answering {
            tickets,
            ready,
            ready_bytes,
            ..
        } = &self.answering;
        let mut tickets = locked(tickets);
        // The turns of those that wait follow one another.
        let first = tickets.order.front().map_or(0, |&(first, _)| first);
        let place = usize::try_from(turn.wrapping_sub(first)).unwrap_or(usize::MAX);
        if let Some((_, place)) = tickets.order.get_mut(place) {
            ready.fetch_add(1, Ordering::Relaxed);
            ready_bytes.fetch_add(made.body.len(), Ordering::Relaxed);
            *place = Some(made);
        }
        // Written under the lock: two threads must not exchange the answers they took.
        while let Some((_, Some(_))) = tickets.order.front() {
            if let Some((_, Some(made))) = tickets.order.pop_front() {
                ready.fetch_sub(1, Ordering::Relaxed);
                ready_bytes.fetch_sub(made.body.len(), Ordering::Relaxed);
                self.write_reply(&made.made());
            }
        }
        self.pace(&locked(&self.outgoing));
        drop(tickets);
        // Whoever waits for the peer to read may wait for answers to have their turn.
        self.room.notify_waiters();
    }

    /// Whether so many answers wait that nothing more is to be read.
    pub(super) fn has_much_to_say(&self) -> bool {
        locked(&self.outgoing).unwritten() >= UNWRITTEN_BYTES || self.answering.is_crowded(1)
    }

    /// Begins no calls while too much waits, for the peer to read it or for its turn, and begins
    /// them again. Under the lock of what is written, so that the last word is the right one.
    pub(super) fn pace(&self, outgoing: &Outgoing) {
        let unwritten = outgoing.unwritten();
        if unwritten <= UNWRITTEN_BYTES / 2 && !self.answering.is_crowded(2) || !outgoing.is_alive()
        {
            self.go_on();
        } else if unwritten > UNWRITTEN_BYTES || self.answering.is_crowded(1) {
            self.hold_back();
        }
    }

    fn write_reply(&self, reply: &Made<'_>) {
        let frame = Chunks {
            head: reply.head.as_slice(),
            body: reply.body,
            tail: reply.tail,
            kind: Kind::Reply,
        };
        let (accepted, written) = {
            let mut outgoing = locked(&self.outgoing);
            let held = holds_back() || self.answering.is_leaving();
            let pushed = outgoing.push(&frame, false, held);
            self.pace(&outgoing);
            pushed
        };
        let counters = &self.terms.counters;
        Counters::add(&counters.bytes_sent, written);
        if matches!(accepted, Accepted::Written | Accepted::Waiting) {
            cork::wrote(frame.len());
        }
        match accepted {
            Accepted::Written => Counters::count(&counters.replies_sent),
            Accepted::Waiting => {
                Counters::count(&counters.replies_sent);
                self.wake_writer.notify_one();
            }
            Accepted::Held { first } => {
                Counters::count(&counters.replies_sent);
                if first {
                    self.hold();
                }
            }
            Accepted::Full { .. } | Accepted::Gone => Counters::count(&counters.replies_unsent),
        }
    }
}
