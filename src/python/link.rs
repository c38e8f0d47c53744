//! The other end of a connection, for `PeerChannel`.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::call::{CloseKind, CloseReason, Link as Peer};
use crate::python::outgoing::{Caller, Carrier};
use crate::python::process::Process;
use crate::python::tls;
use crate::wire::Answers;

/// A connection as its own end sees it.
#[pyclass(frozen, module = "callmethod._core")]
pub(super) struct Link {
    link: Arc<dyn Peer>,
    caller: Py<Caller>,
}

impl Link {
    pub(super) fn new(
        py: Python<'_>,
        process: &Py<Process>,
        link: Arc<dyn Peer>,
    ) -> PyResult<Self> {
        let caller = Caller {
            process: process.clone_ref(py),
            carrier: Carrier::Link(Arc::clone(&link)),
            answers: link.traits().answers != Answers::Never,
            peer: link.peer().into(),
            limit: link.limit(),
        };
        let caller = Py::new(py, caller)?;
        Ok(Self { link, caller })
    }
}

#[pymethods]
impl Link {
    /// Where the peer is.
    #[getter]
    fn peer(&self) -> &str {
        self.link.peer()
    }

    /// Name of the protocol spoken.
    #[getter]
    fn protocol(&self) -> &'static str {
        self.link.protocol()
    }

    /// `callmethod.TlsInfo`; None without TLS.
    #[getter]
    fn tls<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let info = self.link.tls();
        info.map(|info| tls::info(py, info)).transpose()
    }

    /// Whether calls can still be sent.
    #[getter]
    fn connected(&self) -> bool {
        self.link.is_open()
    }

    /// Whether calls wait for answers.
    #[getter]
    fn answers(&self) -> bool {
        self.link.traits().answers != Answers::Never
    }

    /// What calls.
    #[getter]
    fn caller(&self, py: Python<'_>) -> Py<Caller> {
        self.caller.clone_ref(py)
    }

    /// Writes what waits, then closes the connection.
    fn close(&self) {
        self.link
            .finish(CloseReason::new(CloseKind::Closed, "closed by this end"));
    }
}
