//! Waiting on a thread of Python's, without the GIL and with an ear for Ctrl-C.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use pyo3::prelude::*;

use crate::python::{enter, errors};

/// How long a signal can go unheard.
const SLICE: Duration = Duration::from_millis(50);

/// Waits for one message.
///
/// # Errors
/// What a signal handler raised, `KeyboardInterrupt` most of the time; `RuntimeError` when the one
/// who was to send it is gone.
pub(super) fn wait<T: Send>(py: Python<'_>, mut receiver: Receiver<T>) -> PyResult<T> {
    loop {
        let (back, outcome) = py.detach(move || {
            let outcome = receiver.recv_timeout(SLICE);
            (receiver, outcome)
        });
        enter::gate(py);
        py.check_signals()?;
        match outcome {
            Ok(message) => return Ok(message),
            Err(RecvTimeoutError::Disconnected) => return Err(errors::stopped()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        receiver = back;
    }
}
