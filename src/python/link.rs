//! The other end of a connection, for `PeerChannel`.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::call::{CloseKind, CloseReason, Link as Peer};
use crate::python::{enter, errors};

/// A connection as its own end sees it.
#[pyclass(frozen, module = "callmethod._core")]
pub(super) struct Link {
    pub(super) link: Arc<dyn Peer>,
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

    /// Whether calls can still be sent.
    #[getter]
    fn connected(&self) -> bool {
        self.link.is_open()
    }

    /// Calls a method of the peer's service; never waits. Raises `RpcError`, and
    /// `ValueError` for a call that cannot be sent at all.
    fn call(&self, py: Python<'_>, index: u32, body: &[u8]) -> PyResult<()> {
        enter::gate(py);
        let sent = self.link.call(index, body);
        sent.map_err(|status| errors::failed(py, &status, self.link.peer()))
    }

    /// Writes what waits, then closes the connection.
    fn close(&self) {
        self.link
            .finish(CloseReason::new(CloseKind::Closed, "closed by this end"));
    }
}
