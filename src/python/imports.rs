//! Every name of Python code that Rust touches, in one place, imported on first use.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

macro_rules! imported {
    ($($name:ident: $kind:ty = $module:literal, $attribute:literal;)*) => {$(
        pub(super) fn $name(py: Python<'_>) -> PyResult<&Bound<'_, $kind>> {
            static CELL: PyOnceLock<Py<$kind>> = PyOnceLock::new();
            CELL.import(py, $module, $attribute)
        }
    )*};
}

imported! {
    code: PyType = "callmethod.errors", "Code";
    rpc_error: PyType = "callmethod.errors", "RpcError";
    peer_channel: PyType = "callmethod.peer_channel", "PeerChannel";
    disconnect: PyType = "callmethod.errors", "Disconnect";
}
