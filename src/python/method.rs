//! A method as those who call it know it: looked up once instead of for each call.

use std::sync::{Arc, OnceLock};

use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyType};

use crate::python::message::{Fault, Parser, ParserParts};
use crate::python::{enter, errors};
use crate::status::{Code, Status};
use crate::wire::MethodName;

/// A class of requests that was found to be the method's.
struct Request {
    class: Py<PyType>,
    /// Its own `SerializeToString`: asking an object for it costs as much as calling it.
    serialize: Py<PyAny>,
}

/// A method and the classes of its messages.
#[pyclass(frozen, module = "callmethod._core")]
pub(super) struct Method {
    pub(super) name: Arc<MethodName>,
    /// Request to bytes; raises for what is no request of the method.
    serialized: Py<PyAny>,
    request: OnceLock<Request>,
    response: Parser,
    /// Full name of the response's type.
    response_name: String,
}

#[pymethods]
impl Method {
    #[new]
    fn new(
        service: String,
        method: String,
        index: u32,
        serialized: Py<PyAny>,
        response: ParserParts,
        response_name: String,
    ) -> Self {
        Self {
            name: Arc::new(MethodName {
                service,
                method,
                index,
            }),
            serialized,
            request: OnceLock::new(),
            response: response.into(),
            response_name,
        }
    }

    /// The response in `body`; `RpcError` for what is none.
    #[pyo3(name = "response")]
    fn response_of<'py>(
        &self,
        py: Python<'py>,
        body: &[u8],
        peer: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.response(py, body, peer)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.serialized)?;
        if let Some(request) = self.request.get() {
            visit.call(&request.class)?;
            visit.call(&request.serialize)?;
        }
        self.response.traverse(&visit)
    }
}

impl Method {
    /// The bytes of a request.
    ///
    /// # Errors
    /// `TypeError` for what is no request of the method; what protobuf raises for one that lacks
    /// required fields.
    pub(super) fn serialize<'py>(
        &self,
        request: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let py = request.py();
        let class = request.get_type();
        if let Some(known) = self.request.get()
            && class.is(&known.class)
        {
            let body = enter::apply(known.serialize.bind(py), &[request])?;
            return Ok(body.cast_into()?);
        }
        let body = enter::apply(self.serialized.bind(py), &[request])?;
        let serialize = class.getattr(intern!(py, "SerializeToString"))?.unbind();
        let class = class.unbind();
        // The first class that comes is the one of most requests.
        let _ = self.request.set(Request { class, serialize });
        Ok(body.cast_into()?)
    }

    /// The response in `body`.
    ///
    /// # Errors
    /// `RpcError` for what is none.
    pub(super) fn response<'py>(
        &self,
        py: Python<'py>,
        body: &[u8],
        peer: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        let fault = match self.response.parse(py, body) {
            Ok(response) => return Ok(response),
            Err(Fault::Lacks(missing)) => format!("it lacks {}", missing.join(", ")),
            Err(Fault::Raised(error)) => {
                let text = enter::call(PyType::new::<PyString>(py).as_any(), (error.value(py),))?;
                text.extract()?
            }
        };
        let text = format!("the response is no {}: {fault}", self.response_name);
        Err(errors::raised(py, &Status::new(Code::Internal, text), peer))
    }
}
