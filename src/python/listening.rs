//! Listening for others: the socket that worker processes share.

use std::os::fd::IntoRawFd as _;

use pyo3::prelude::*;

use crate::net::address::Address;
use crate::net::server;
use crate::python::server::Bind;
use crate::python::{errors, fd};

/// Listens without starting anything: the number of the socket, which is the caller's to close, and
/// where it listens. Raises `OSError` when it cannot.
#[pyfunction]
pub(super) fn listen(py: Python<'_>, bind: Bind) -> PyResult<(i32, String)> {
    let (listening, what) = match bind {
        Bind::Fd(number) => (
            server::share(fd::take(number).into()),
            "the given socket".to_owned(),
        ),
        Bind::Address(text) => {
            let place: Address = text.parse()?;
            (py.detach(|| server::listen(&place)), text)
        }
    };
    let (socket, address) = listening.map_err(|error| errors::os_error(&error, &what))?;
    Ok((socket.into_raw_fd(), address.to_string()))
}
