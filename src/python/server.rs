//! The server behind `callmethod.Server`.

use std::io;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::call::Session;
use crate::net::address::Address;
use crate::net::connection::{Offer as Offered, Terms};
use crate::net::server::{Cut, Listener, Server as Serving};
use crate::python::binding::Binding;
use crate::python::invoker::Invoker;
use crate::python::options::{Indexed, seconds};
use crate::python::process::Process;
use crate::python::servicing::{Offer, Servicing};
use crate::python::wait::wait;
use crate::python::workers::Workers;
use crate::python::{errors, fd, stats};
use crate::wire::indexed::IndexedCodec;

/// Where to listen.
#[derive(FromPyObject)]
enum Bind {
    /// The number of a socket that listens, which is taken over.
    Fd(i32),
    /// An address to bind to.
    Address(String),
}

/// A server that serves.
#[pyclass(frozen, module = "callmethod._core")]
pub(super) struct Server {
    process: Py<Process>,
    workers: Py<Workers>,
    serving: Arc<Serving>,
    servicing: Arc<Servicing>,
    address: String,
}

type Started = io::Result<(Arc<Serving>, Address)>;

/// Runs `task` on the I/O thread and waits for what it gives.
fn run<T: Send + 'static>(
    py: Python<'_>,
    process: &Process,
    task: impl Future<Output = T> + Send + 'static,
) -> PyResult<T> {
    let (sender, receiver) = sync_channel(1);
    process.handle().spawn(async move {
        // Nobody waits any more when this fails: Ctrl-C.
        let _ = sender.send(task.await);
    });
    wait(py, receiver)
}

#[pymethods]
impl Server {
    /// Binds and serves. Raises `OSError` when it cannot listen.
    #[staticmethod]
    #[pyo3(signature = (process, workers, bind, protocol, *, shared, factory, context, submit, reuse_port))]
    #[expect(clippy::too_many_arguments)]
    fn start(
        py: Python<'_>,
        process: Py<Process>,
        workers: Py<Workers>,
        bind: Bind,
        protocol: &Bound<'_, PyAny>,
        shared: Option<Py<Binding>>,
        factory: Py<PyAny>,
        context: Py<PyAny>,
        submit: Py<PyAny>,
        reuse_port: bool,
    ) -> PyResult<Self> {
        let indexed = Indexed::one_way(protocol)?;
        let offered = shared.as_ref().map_or(Offered::BySession, |binding| {
            Offered::Service(Arc::clone(&binding.get().schema))
        });
        let offer = shared.map_or_else(|| Offer::Factory(factory), Offer::Shared);
        let Workers {
            counters,
            processor,
            ..
        } = workers.get();
        let servicing = Arc::new(Servicing {
            process: process.clone_ref(py),
            counters: Arc::clone(counters),
            offer: Mutex::new(Some(offer)),
            close_on_bad_body: indexed.close_on_bad_body,
            context,
            submit,
            discards_logged: Mutex::default(),
        });
        let terms = Arc::new(Terms {
            codec: Arc::new(IndexedCodec::new(indexed.layout)),
            coalesce: indexed.coalesce,
            offer: offered,
            counters: Arc::clone(counters),
            journal: Arc::clone(&process.get().journal),
        });
        let processor = Arc::clone(processor);
        let runtime = process.get().handle().clone();
        let (address, what) = match &bind {
            Bind::Fd(_) => (None, "the given socket".to_owned()),
            Bind::Address(text) => (Some(text.parse::<Address>()?), text.clone()),
        };
        let kept = Arc::clone(&servicing);
        let starting = async move {
            let listener = match (bind, address) {
                (Bind::Fd(number), _) => Listener::from_fd(fd::take(number)),
                (_, Some(address)) => Listener::bind(&address, reuse_port).await,
                (_, None) => Err(io::ErrorKind::InvalidInput.into()),
            }?;
            let address = listener.address().clone();
            let open = move || Arc::new(Invoker::new(Arc::clone(&servicing))) as Arc<dyn Session>;
            let serving = Serving::start(&runtime, listener, terms, processor, Box::new(open));
            Ok((serving, address))
        };
        let started: Started = run(py, process.get(), starting)?;
        let (serving, address) = started.map_err(|error| errors::os_error(&error, &what))?;
        Ok(Self {
            process,
            workers,
            serving,
            servicing: kept,
            address: address.to_string(),
        })
    }

    /// Where it listens.
    #[getter]
    fn address(&self) -> &str {
        &self.address
    }

    /// Drains for `grace` seconds and cuts the rest: `(connections, calls, running)` of that.
    fn stop(&self, py: Python<'_>, grace: f64) -> PyResult<(usize, usize, usize)> {
        let (serving, grace) = (Arc::clone(&self.serving), seconds(grace)?);
        let Cut {
            connections,
            calls,
            running,
        } = run(
            py,
            self.process.get(),
            async move { serving.stop(grace).await },
        )?;
        Ok((connections, calls, running))
    }

    /// Lets go of the service: the server has stopped.
    fn release(&self) {
        self.servicing.release();
    }

    /// Cuts everything without waiting.
    fn abandon(&self) {
        self.serving.abandon();
    }

    /// All counters, as a dict.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let queued = self.serving.queued_calls();
        stats::dict(
            py,
            &self.workers.get().counters,
            queued,
            &self.process.get().journal,
        )
    }
}
