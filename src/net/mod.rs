//! Sockets and tasks: the runtime, connections, the acceptor (server side) and the connector
//! (client side).

pub mod address;
mod admitting;
mod answering;
mod calling;
pub mod client;
pub mod connection;
mod lifecycle;
mod outgoing;
mod runtime;
pub mod server;
mod stream;

pub use runtime::Runtime;
pub use stream::Stream;
