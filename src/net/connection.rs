//! One connection: its handle, which any thread may use, for as long as anybody keeps it.
//!
//! What its task does meanwhile stands in `lifecycle.rs`.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{Notify, SetOnce};

use crate::call::{CloseReason, Journal, Level, Link, LossListener};
use crate::metrics::Counters;
use crate::net::Stream;
use crate::net::outgoing::{Accepted, Left, Outgoing};
use crate::schema::ServiceSchema;
use crate::status::{Code, Status};
use crate::wire::{Codec, EncodeError};

/// What the other end may call.
#[derive(Debug, Clone)]
pub enum Offer {
    /// Nothing: calls that come in are passed over.
    Nothing,
    /// This service.
    Service(Arc<ServiceSchema>),
    /// A service that each session finds out for itself and names by [`Link::serve`].
    BySession,
}

/// What all connections of one server or channel share.
#[derive(Debug)]
pub struct Terms {
    /// The protocol.
    pub codec: Arc<dyn Codec>,
    /// Whether frames that wait together may leave in one write.
    pub coalesce: bool,
    /// What the other end may call.
    pub offer: Offer,
    /// Where events are counted.
    pub counters: Arc<Counters>,
    /// Where events are written down.
    pub journal: Arc<Journal>,
}

#[derive(Default)]
struct Loss {
    lost: bool,
    listeners: Vec<Weak<dyn LossListener>>,
}

/// Listeners that may pile up before those that are gone are swept out.
const LISTENERS_UNSWEPT: usize = 64;

/// A connection, open or gone.
pub struct Connection {
    peer: String,
    pub(super) terms: Arc<Terms>,
    /// The service that the peer may call; set when the session knows it.
    pub(super) schema: SetOnce<Arc<ServiceSchema>>,
    outgoing: Mutex<Outgoing>,
    /// Something waits to be written, or the write side is to be closed.
    pub(super) wake_writer: Notify,
    /// There may be room for another frame.
    room: Notify,
    /// Why this side wants the connection to end.
    ending: Mutex<Option<CloseReason>>,
    /// This side wants it to end now.
    pub(super) aborted: Notify,
    /// A frame came in: the peer is more than a port that accepts and closes.
    pub(super) heard: AtomicBool,
    loss: Mutex<Loss>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Terms {
    /// Whether there are sessions at all.
    pub(super) fn serves(&self) -> bool {
        !matches!(self.offer, Offer::Nothing)
    }
}

impl Connection {
    /// A handle on `stream`, whose other end is at `peer`.
    #[must_use]
    pub fn new(stream: Arc<Stream>, peer: String, terms: Arc<Terms>) -> Self {
        let known = match &terms.offer {
            Offer::Service(schema) => Some(Arc::clone(schema)),
            Offer::Nothing | Offer::BySession => None,
        };
        let outgoing = Mutex::new(Outgoing::new(stream, terms.coalesce));
        Self {
            peer,
            terms,
            schema: SetOnce::new_with(known),
            outgoing,
            wake_writer: Notify::new(),
            room: Notify::new(),
            ending: Mutex::new(None),
            aborted: Notify::new(),
            heard: AtomicBool::new(false),
            loss: Mutex::new(Loss::default()),
        }
    }

    fn push(&self, index: u32, body: &[u8]) -> Result<Accepted, EncodeError> {
        let head = self.terms.codec.call_head(index, None, body.len())?;
        let (accepted, written) = locked(&self.outgoing).push(head.as_slice(), body);
        let counters = &self.terms.counters;
        Counters::add(&counters.bytes_sent, written);
        if matches!(accepted, Accepted::Written | Accepted::Waiting) {
            Counters::count(&counters.calls_sent);
        }
        if accepted == Accepted::Waiting {
            self.wake_writer.notify_one();
        }
        Ok(accepted)
    }

    /// Calls as [`Link::call`] does, but waits for room instead of failing for want of it.
    ///
    /// # Errors
    /// The frame cannot be made, or the connection is gone.
    pub async fn call_waiting(&self, index: u32, body: &[u8]) -> Result<(), Status> {
        loop {
            // Armed before the try: room that comes in between is not missed.
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            match self.push(index, body).map_err(invalid)? {
                Accepted::Written | Accepted::Waiting => return Ok(()),
                Accepted::Full { .. } => room.await,
                Accepted::Gone => return Err(self.gone()),
            }
        }
    }

    pub(super) fn flush(&self) -> std::io::Result<Left> {
        let (left, written) = locked(&self.outgoing).flush();
        if written > 0 {
            Counters::add(&self.terms.counters.bytes_sent, written);
            self.room.notify_waiters();
        }
        left
    }

    /// Whether the socket is still open.
    pub fn is_alive(&self) -> bool {
        locked(&self.outgoing).is_alive()
    }

    /// Whether nothing waits to be written.
    pub fn is_flushed(&self) -> bool {
        locked(&self.outgoing).is_empty()
    }

    /// Lets go of the socket; whoever still wants to send is told.
    pub(super) fn close(&self) {
        let unsent = locked(&self.outgoing).close();
        Counters::add(&self.terms.counters.calls_unsent, unsent);
        self.room.notify_waiters();
    }

    /// Tells those who wanted to know that the connection was lost.
    pub(super) fn lose(&self) {
        let listeners = {
            let mut loss = locked(&self.loss);
            loss.lost = true;
            mem::take(&mut loss.listeners)
        };
        for listener in listeners.iter().filter_map(Weak::upgrade) {
            listener.lost();
        }
    }

    /// Why this side wants the connection to end, if it does.
    pub(super) fn ending(&self) -> Option<CloseReason> {
        locked(&self.ending).clone()
    }

    pub(super) fn log(&self, level: Level, what: &str, more: &str) {
        let (peer, protocol) = (&self.peer, self.terms.codec.name());
        self.terms.journal.write(
            level,
            format!("{what} peer={peer} protocol={protocol}{more}"),
        );
    }

    fn gone(&self) -> Status {
        let why = self
            .ending()
            .map_or_else(String::new, |reason| format!(": {reason}"));
        Status::new(
            Code::Unavailable,
            format!("the connection to {} is gone{why}", self.peer),
        )
    }
}

fn invalid(error: EncodeError) -> Status {
    Status::new(Code::InvalidArgument, error.to_string())
}

impl Link for Connection {
    fn peer(&self) -> &str {
        &self.peer
    }

    fn protocol(&self) -> &'static str {
        self.terms.codec.name()
    }

    fn serve(&self, schema: Arc<ServiceSchema>) {
        // The terms may have named it already; it is the same then.
        let _ = self.schema.set(schema);
    }

    fn call(&self, index: u32, body: &[u8]) -> Result<(), Status> {
        match self.push(index, body).map_err(invalid)? {
            Accepted::Written | Accepted::Waiting => Ok(()),
            Accepted::Full { unwritten } => Err(Status::new(
                Code::ResourceExhausted,
                format!(
                    "{} has not read {unwritten} bytes yet; the call was not sent",
                    self.peer
                ),
            )),
            Accepted::Gone => Err(self.gone()),
        }
    }

    fn is_open(&self) -> bool {
        locked(&self.outgoing).is_open()
    }

    fn is_lost(&self) -> bool {
        locked(&self.loss).lost
    }

    fn on_loss(&self, listener: Weak<dyn LossListener>) {
        let mut loss = locked(&self.loss);
        if loss.lost {
            drop(loss);
            if let Some(listener) = listener.upgrade() {
                listener.lost();
            }
            return;
        }
        if loss.listeners.len() >= LISTENERS_UNSWEPT {
            loss.listeners.retain(|other| other.strong_count() > 0);
        }
        loss.listeners.push(listener);
    }

    fn finish(&self, reason: CloseReason) {
        locked(&self.ending).get_or_insert(reason);
        locked(&self.outgoing).finish();
        self.wake_writer.notify_one();
    }

    fn abort(&self, reason: CloseReason) {
        *locked(&self.ending) = Some(reason);
        self.aborted.notify_one();
    }
}

impl Connection {
    /// Whether the peer ever sent a frame.
    pub(super) fn was_heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }
}
