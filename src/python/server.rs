//! The server behind `callmethod.Server`.

use std::io;
use std::sync::Arc;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::call::{Admission, Session};
use crate::net::address::Address;
use crate::net::server::{Cut, Listener, Server as Serving};
use crate::net::terms::{Role, Terms};
use crate::net::tls::TlsAcceptor;
use crate::python::invoker::Invoker;
use crate::python::options::{self, Protocol, ServerOptions, seconds};
use crate::python::process::Process;
use crate::python::servicing::{Offers, Runner, Servicing};
use crate::python::wait::{channel, wait};
use crate::python::workers::Workers;
use crate::python::{errors, fd, stats, tls};

/// Where to listen.
#[derive(FromPyObject)]
pub(super) enum Bind {
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
    /// None when it only serves channels of this process.
    address: Option<String>,
    tls: Option<Arc<TlsAcceptor>>,
}

impl Server {
    pub(super) fn serving(&self) -> &Arc<Serving> {
        &self.serving
    }
}

/// Runs `task` on the I/O thread and waits for what it gives.
fn run<T: Send + 'static>(
    py: Python<'_>,
    process: &Process,
    task: impl Future<Output = T> + Send + 'static,
) -> PyResult<T> {
    let (sender, receiver) = channel();
    process
        .handle()
        .spawn(async move { sender.send(task.await) });
    wait(py, &process.driver, &receiver)
}

/// Binds where `bind` says.
async fn bound(bind: Bind, address: Option<Address>, reuse_port: bool) -> io::Result<Listener> {
    match (bind, address) {
        (Bind::Fd(number), _) => Listener::from_fd(fd::take(number)),
        (Bind::Address(_), Some(address)) => Listener::bind(&address, reuse_port).await,
        (Bind::Address(_), None) => Err(io::ErrorKind::InvalidInput.into()),
    }
}

#[pymethods]
impl Server {
    /// Binds and serves. Raises `OSError` when it cannot listen.
    #[staticmethod]
    #[pyo3(signature = (process, workers, bind, protocols, options, *, offers, authenticate, expose_errors, reuse_port, context, runner, tls=None))]
    #[expect(clippy::too_many_arguments)]
    fn start(
        py: Python<'_>,
        process: Py<Process>,
        workers: Py<Workers>,
        bind: Option<Bind>,
        protocols: &Bound<'_, PyAny>,
        options: &Bound<'_, PyAny>,
        offers: Offers,
        authenticate: Option<Py<PyAny>>,
        expose_errors: bool,
        reuse_port: bool,
        context: Py<PyAny>,
        runner: Runner,
        tls: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let tls = tls
            .map(|options| PyResult::Ok(TlsAcceptor::new(&tls::server(options)?)?))
            .transpose()?;
        let Workers { counters, crew, .. } = workers.get();
        let shared = process.clone_ref(py);
        let mut servicing =
            Servicing::new(py, shared, Arc::clone(counters), offers, context, runner)?;
        let ServerOptions {
            limits,
            methods,
            bounds,
            timeouts,
            unfinished,
        } = ServerOptions::read(options)?;
        servicing.queue_time = limits.queue_time;
        servicing.expose_errors = expose_errors;
        servicing.authenticate = authenticate;
        let servicing = Arc::new(servicing);
        let offer = servicing.offered(py)?;
        let admission = Arc::new(Admission::new(limits, options::bounds(&offer, &methods)?));
        let unfinished = Arc::new(unfinished);
        let mut terms = Vec::new();
        for protocol in protocols.try_iter()? {
            let Protocol {
                codec,
                coalesce,
                close_on_bad_body,
            } = Protocol::read(&protocol?)?;
            terms.push(Arc::new(Terms {
                codec,
                coalesce,
                close_on_bad_body,
                role: Role::Server {
                    admission: Arc::clone(&admission),
                    authenticates: servicing.authenticate.is_some(),
                },
                offer: offer.clone(),
                timeouts: timeouts.clone(),
                unfinished: Arc::clone(&unfinished),
                counters: Arc::clone(counters),
                driver: Arc::clone(&process.get().driver),
                journal: Arc::clone(&process.get().journal),
            }));
        }
        let sessions = Arc::clone(&servicing);
        let open = move || Arc::new(Invoker::new(Arc::clone(&sessions))) as Arc<dyn Session>;
        let processor = Arc::clone(crew.processor());
        let serving = Serving::new(terms, &bounds, processor, Box::new(open));
        let address = match bind {
            None => None,
            Some(bind) => {
                let port = (bind, reuse_port, tls.clone());
                Some(Self::listen(py, process.get(), &serving, port)?)
            }
        };
        Ok(Self {
            process,
            workers,
            serving,
            servicing,
            address,
            tls,
        })
    }

    /// Where it listens.
    #[getter]
    fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// Has connections that come from now on secured as `callmethod.ServerTls` says.
    fn reload_tls(&self, options: &Bound<'_, PyAny>) -> PyResult<()> {
        let settings = tls::server(options)?;
        let spoken = self.tls.as_ref();
        let spoken = spoken.ok_or_else(|| PyRuntimeError::new_err("the server speaks no TLS"))?;
        Ok(spoken.reload(&settings)?)
    }

    /// Accepts nothing more, and serves on.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let serving = Arc::clone(&self.serving);
        run(py, self.process.get(), async move { serving.close().await })
    }

    /// Takes nothing new, and waits at most `grace` seconds for what there is.
    fn drain(&self, py: Python<'_>, grace: f64) -> PyResult<()> {
        let (serving, grace) = (Arc::clone(&self.serving), seconds(grace)?);
        run(py, self.process.get(), async move {
            serving.drain(grace).await;
        })
    }

    /// Cuts what the drain has left: `(connections, calls)` of that.
    fn cut(&self) -> (usize, usize) {
        let Cut {
            connections, calls, ..
        } = self.serving.cut();
        (connections, calls)
    }

    /// Waits a moment for handlers whose connections were cut: how many still run.
    fn farewell(&self, py: Python<'_>) -> PyResult<usize> {
        let serving = Arc::clone(&self.serving);
        run(
            py,
            self.process.get(),
            async move { serving.farewell().await },
        )
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

impl Server {
    /// Has `serving` listen, and says where.
    fn listen(
        py: Python<'_>,
        process: &Process,
        serving: &Arc<Serving>,
        (bind, reuse_port, tls): (Bind, bool, Option<Arc<TlsAcceptor>>),
    ) -> PyResult<String> {
        let (address, what) = match &bind {
            Bind::Fd(_) => (None, "the given socket".to_owned()),
            Bind::Address(text) => (Some(text.parse::<Address>()?), text.clone()),
        };
        let runtime = process.handle().clone();
        let serving = Arc::clone(serving);
        let listening = async move {
            let listener = bound(bind, address, reuse_port).await?;
            let address = listener.address().to_string();
            match tls {
                None => serving.listen(&runtime, listener),
                Some(tls) => serving.listen_tls(&runtime, listener, tls),
            }
            Ok::<_, io::Error>(address)
        };
        let started = run(py, process, listening)?;
        started.map_err(|error| errors::os_error(&error, &what))
    }
}
