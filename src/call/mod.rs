//! What a call means, without sockets, clocks or Python: sessions, lanes, the processor's queue,
//! the registry, the pending table, the journal.

mod admission;
mod close;
mod deadlines;
mod dispatch;
mod greeting;
mod journal;
mod lane;
mod outbound;
mod outcome;
mod pace;
mod pending;
mod processor;
mod registry;
mod retry;
mod session;
mod ticket;
mod tls;

pub use admission::{Admission, Held, Limits, Permit};
pub use close::{CloseKind, CloseReason};
pub use deadlines::Deadlines;
pub use dispatch::{Refusal, RejectReason};
pub use greeting::{GOAWAY, Greeting, KEY as GREETING_KEY};
pub use journal::{Journal, Level, Record};
pub use lane::{Hold, Lane, Turn};
pub use outbound::{Answer, Ended, Outbound, Waiter};
pub use outcome::{Outcome, Tally};
pub use pending::{Completed, NotTaken, Pending};
pub use processor::{Before, Processor, Woken, WorkerId, Workforce};
pub use registry::{Ambiguous, Place, Registry};
pub use retry::{Backoff, is_refused};
pub use session::{Call, Event, Link, LossListener, Reply, Session};
pub use ticket::{EndListener, ReplyTo, Running, RunsOn, Ticket};
pub use tls::{Certificate, TlsInfo};
