//! Calls without a controller, which most are: what comes back is a response or an exception, and
//! no code of Python's is needed for either.

use pyo3::intern;
use pyo3::prelude::*;

use crate::call::{Answer, Ended};
use crate::python::method::Method;
use crate::python::outgoing::Caller;
use crate::python::{answer, enter, errors};
use crate::status::{Code, Status};

/// How a call ended, and what makes a response of that.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) method: Py<Method>,
    /// Who made the call.
    pub(super) caller: Py<Caller>,
    pub(super) end: Ended,
}

impl Reply {
    /// The response.
    ///
    /// # Errors
    /// `RpcError` when the call failed, `ValueError` when it could not be sent.
    pub(super) fn response(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        let Self {
            method,
            caller,
            end,
        } = self;
        let Caller {
            peer,
            limit,
            answers,
            ..
        } = caller.get();
        let body = match end {
            Ended::Answered(_) if !answers => return Ok(py.None().into_bound(py)),
            Ended::Answered(Answer { body, .. }) => body,
            Ended::Failed(status) | Ended::Unsent(status) | Ended::Denied(status, _) => {
                return Err(errors::raised(py, &status, peer));
            }
            Ended::Invalid(error) => return Err(error.into()),
        };
        match answer::opened(py, body, *limit) {
            Ok(body) => method.get().response(py, &body, peer),
            Err(fault) => {
                let text = format!("the response does not inflate: {fault}");
                let status = Status::new(Code::Internal, text);
                Err(errors::raised(py, &status, peer))
            }
        }
    }

    /// The response, None where there is none: without a controller nobody is told why.
    pub(super) fn response_or_none(self, py: Python<'_>) -> Bound<'_, PyAny> {
        self.response(py)
            .unwrap_or_else(|_| py.None().into_bound(py))
    }

    /// Tells whoever awaits `future`, on the thread of its loop.
    pub(super) fn settle(self, future: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = future.py();
        // Cancelled, most likely.
        if enter::call_method(future, intern!(py, "done"), &[])?.is_truthy()? {
            return Ok(());
        }
        match self.response(py) {
            Ok(response) => {
                enter::call_method(future, intern!(py, "set_result"), &[&response])?;
                enter::release(response);
            }
            Err(error) => {
                let error = error.into_value(py).into_bound(py).into_any();
                enter::call_method(future, intern!(py, "set_exception"), &[&error])?;
            }
        }
        Ok(())
    }
}
