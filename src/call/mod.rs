//! What a call means, without sockets, clocks or Python: sessions, lanes, the processor's queue,
//! dispatch, the journal.

mod close;
mod dispatch;
mod journal;
mod processor;
mod retry;
mod session;

pub use close::{CloseKind, CloseReason};
pub use dispatch::{Refusal, RejectReason, resolve};
pub use journal::{Journal, Level, Record};
pub use processor::{Hold, Lane, Processor, Turn};
pub use retry::Backoff;
pub use session::{Call, Event, Link, LossListener, Session};
