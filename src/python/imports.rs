//! Every name of Python code that Rust touches, in one place, imported on first use.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

macro_rules! imported {
    ($($name:ident: $kind:ty = $module:literal, $attribute:literal;)*) => {
        /// Imports all of them now, while the interpreter is whole.
        pub(super) fn load(py: Python<'_>) -> PyResult<()> {
            $($name(py)?;)*
            Ok(())
        }
        $(
        pub(super) fn $name(py: Python<'_>) -> PyResult<&Bound<'_, $kind>> {
            static CELL: PyOnceLock<Py<$kind>> = PyOnceLock::new();
            CELL.import(py, $module, $attribute)
        }
    )*};
}

imported! {
    rpc_error: PyAny = "callmethod.errors", "from_core";
    describe: PyAny = "callmethod.errors", "to_core";
    proto_error: PyType = "callmethod.errors", "ProtoError";
    peer_channel: PyType = "callmethod.peer_channel", "PeerChannel";
    deadline: PyAny = "callmethod._deadline", "deadline";
    seen_as: PyType = "callmethod.controller", "SeenAs";
    cancelled: PyType = "asyncio", "CancelledError";
    tls_info: PyAny = "callmethod.tls", "TlsInfo";
    certificate: PyAny = "callmethod.tls", "from_core";
    disconnect: PyType = "callmethod.errors", "Disconnect";
}
