//! One service object, ready to be called: what is looked up once instead of for each call.

use std::sync::Arc;

use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;

use crate::python::schema::MethodTable;
use crate::schema::ServiceSchema;
use crate::wire::Tags;

/// One method of a service object.
#[derive(Debug)]
pub(super) struct BoundMethod {
    /// Called with `(controller, request, done)`; none when the user left the method out.
    pub(super) handler: Option<Py<PyAny>>,
    /// Bytes to request.
    pub(super) parse: Py<PyAny>,
    /// Request to whether it is complete; none when it cannot lack required fields.
    pub(super) is_complete: Option<Py<PyAny>>,
    /// What makes a request complete when it is there; none where its tags do not tell.
    pub(super) required: Option<Tags>,
    /// The response's class.
    pub(super) response_class: Py<PyAny>,
    /// Response to bytes, of that very class.
    pub(super) serialize: Py<PyAny>,
    /// Whether a response can lack required fields.
    pub(super) response_has_required: bool,
}

type MethodParts = (
    Option<Py<PyAny>>,
    Py<PyAny>,
    Option<Py<PyAny>>,
    Option<Vec<u64>>,
    Py<PyAny>,
    Py<PyAny>,
    bool,
);

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
        service: Py<PyAny>,
        table: &MethodTable,
        methods: Vec<MethodParts>,
        on_connected: Option<Py<PyAny>>,
        on_disconnected: Option<Py<PyAny>>,
    ) -> Self {
        let methods = methods
            .into_iter()
            .map(
                |(
                    handler,
                    parse,
                    is_complete,
                    required,
                    response_class,
                    serialize,
                    response_has_required,
                )| {
                    BoundMethod {
                        handler,
                        parse,
                        is_complete,
                        required: required.map(Tags::from),
                        response_class,
                        serialize,
                        response_has_required,
                    }
                },
            )
            .collect();
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
            visit.call(&method.parse)?;
            visit.call(&method.is_complete)?;
            visit.call(&method.response_class)?;
            visit.call(&method.serialize)?;
        }
        visit.call(&self.service)?;
        visit.call(&self.on_connected)?;
        visit.call(&self.on_disconnected)
    }
}
