//! The border: what Python sees of the core. The only folder that names PyO3.

mod answer;
mod binding;
mod callbacks;
mod channel;
mod codec;
mod completion;
mod controller;
mod cork;
mod coroutine;
mod enclosed;
mod endpoint;
mod enter;
mod errors;
mod fd;
mod frames;
mod handling;
mod imports;
mod invoker;
mod link;
mod listening;
mod load;
mod mailbox;
mod message;
mod method;
mod options;
mod outgoing;
mod plain;
mod process;
mod protos;
mod schema;
mod server;
mod servicing;
mod stats;
mod tls;
mod vectorcall;
mod wait;
mod waiting;
mod watch;
mod workers;

use pyo3::pymodule;

/// The compiled half of the package; `callmethod` itself is what users import.
#[pymodule]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::answer::CallExtras;
    #[pymodule_export]
    use super::binding::Binding;
    #[pymodule_export]
    use super::channel::Channel;
    #[pymodule_export]
    use super::codec::IndexedCodec;
    #[pymodule_export]
    use super::completion::Done;
    #[pymodule_export]
    use super::controller::ServerController;
    #[pymodule_export]
    use super::cork::Cork;
    #[pymodule_export]
    use super::coroutine::Coroutine;
    #[pymodule_export]
    use super::frames::FrameReader;
    #[pymodule_export]
    use super::link::Link;
    #[pymodule_export]
    use super::listening::listen;
    #[pymodule_export]
    use super::load::generate_load;
    #[pymodule_export]
    use super::mailbox::Mailbox;
    #[pymodule_export]
    use super::method::Method;
    #[pymodule_export]
    use super::options::traits;
    #[pymodule_export]
    use super::outgoing::{Caller, Delivery};
    #[pymodule_export]
    use super::process::Process;
    #[pymodule_export]
    use super::protos::{MessagePool, compile_protos, split_set};
    #[pymodule_export]
    use super::schema::MethodTable;
    #[pymodule_export]
    use super::server::Server;
    #[pymodule_export]
    use super::tls::{check_client_tls, check_server_tls};
    #[pymodule_export]
    use super::waiting::Waiting;
    #[pymodule_export]
    use super::workers::Workers;
    /// Lets no thread but this one into the core any more: the interpreter exits.
    #[pyfunction]
    fn close_gate() {
        super::enter::close_gate();
    }

    #[pymodule_export]
    const MESSAGE_BYTES: u64 = crate::wire::limits::MESSAGE_BYTES;
}
