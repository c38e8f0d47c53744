//! One service object, ready to be called: what is looked up once instead of for each call.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::python::message::{Parser, ParserParts};
use crate::python::schema::MethodTable;
use crate::schema::ServiceSchema;

/// One method of a service object.
#[derive(Debug)]
pub(super) struct BoundMethod {
    /// Its full name.
    pub(super) name: Py<PyString>,
    /// Called with `(controller, request, done)`; none when the user left the method out.
    pub(super) handler: Option<Py<PyAny>>,
    /// It has given something to be awaited: until that begins, its calls wait on.
    pub(super) awaits: AtomicBool,
    /// Bytes to request.
    pub(super) request: Parser,
    /// The response's class.
    pub(super) response_class: Py<PyAny>,
    /// Response to bytes, of that very class.
    pub(super) serialize: Py<PyAny>,
    /// Whether a response can lack required fields.
    pub(super) response_has_required: bool,
}

type MethodParts = (Option<Py<PyAny>>, ParserParts, Py<PyAny>, Py<PyAny>, bool);

/// A service object and what the invoker needs of it.
#[pyclass(frozen, module = "callmethod._core")]
#[derive(Debug)]
pub(super) struct Binding {
    /// Kept for as long as its connection: not every service has a method that would keep it.
    service: Py<PyAny>,
    pub(super) schema: Arc<ServiceSchema>,
    pub(super) methods: Vec<BoundMethod>,
    pub(super) on_connected: Option<Py<PyAny>>,
    pub(super) on_disconnected: Option<Py<PyAny>>,
}

#[pymethods]
impl Binding {
    #[new]
    fn new(
        py: Python<'_>,
        service: Py<PyAny>,
        table: &MethodTable,
        methods: Vec<MethodParts>,
        on_connected: Option<Py<PyAny>>,
        on_disconnected: Option<Py<PyAny>>,
    ) -> Self {
        let names = table.schema.methods().methods().iter();
        let names = names.map(|method| PyString::new(py, &method.full_name).unbind());
        let bound = |(name, parts): (Py<PyString>, MethodParts)| {
            let (handler, request, response_class, serialize, response_has_required) = parts;
            BoundMethod {
                name,
                handler,
                awaits: AtomicBool::new(false),
                request: request.into(),
                response_class,
                serialize,
                response_has_required,
            }
        };
        let methods = names.zip(methods).map(bound).collect();
        Self {
            service,
            schema: Arc::clone(&table.schema),
            methods,
            on_connected,
            on_disconnected,
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        for method in &self.methods {
            visit.call(&method.handler)?;
            method.request.traverse(&visit)?;
            visit.call(&method.response_class)?;
            visit.call(&method.serialize)?;
        }
        visit.call(&self.service)?;
        visit.call(&self.on_connected)?;
        visit.call(&self.on_disconnected)
    }
}
