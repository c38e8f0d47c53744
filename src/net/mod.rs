//! Sockets and tasks: the runtime, connections, the acceptor (server side) and the connector
//! (client side).

pub mod address;
mod admitting;
mod alarm;
mod answering;
mod beginning;
mod calling;
pub mod client;
mod clock;
pub mod connection;
mod cork;
mod crew;
mod crowd;
mod driver;
mod interest;
mod lifecycle;
mod loss;
mod memory;
mod outgoing;
mod panics;
mod poller;
mod reading;
mod replies;
mod rope;
mod runtime;
pub mod server;
mod socket;
mod spare;
mod staff;
mod stream;
pub mod terms;
mod timeouts;
pub mod tls;
mod unfinished;

pub use cork::{hold_back, holding_back};
pub use crew::{Crew, Worker};
pub use driver::Driver;
pub use interest::Listening;
pub use runtime::Runtime;
pub use socket::Socket;
pub use stream::{Stream, Transport};
pub use timeouts::Timeouts;
pub use unfinished::Unfinished;
