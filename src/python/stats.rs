//! Counters as a dict.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::call::Journal;
use crate::metrics::{Counters, Value};

/// All counters by name, and what is counted elsewhere.
pub(super) fn dict<'py>(
    py: Python<'py>,
    counters: &Counters,
    queued: usize,
    journal: &Journal,
) -> PyResult<Bound<'py, PyDict>> {
    let stats = PyDict::new(py);
    for (name, value) in counters.snapshot() {
        match value {
            Value::Number(number) => stats.set_item(name, number)?,
            Value::Labelled(counts) => {
                let labelled = PyDict::new(py);
                for (label, count) in counts {
                    labelled.set_item(label, count)?;
                }
                stats.set_item(name, labelled)?;
            }
        }
    }
    stats.set_item("calls_queued", queued)?;
    stats.set_item("log_records_dropped_total", journal.dropped())?;
    Ok(stats)
}
