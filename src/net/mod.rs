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
mod driver;
mod lifecycle;
mod outgoing;
mod panics;
mod runtime;
pub mod server;
mod socket;
mod stream;
pub mod tls;

pub use cork::{hold_back, holding_back};
pub use crew::{Crew, Worker};
pub use driver::Driver;
pub use runtime::Runtime;
pub use socket::Socket;
pub use stream::{Stream, Transport};
