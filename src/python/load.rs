//! The load generator, for `callmethod bench`.

use std::net::SocketAddr;
use std::time::Duration;

use pyo3::exceptions::{PyConnectionError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::load::baidu_std::BaiduStd;
use crate::load::indexed::Indexed;
use crate::load::{self, Expects, MOST_IN_FLIGHT, Plan, Progress, Report};
use crate::net::tls::TlsConnector;
use crate::python::{enter, tls};

/// Parts of the calls whose longest time is told.
const QUANTILES: [f64; 7] = [0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999];

fn plan_of(plan: &Bound<'_, PyAny>) -> PyResult<Plan> {
    let connect: String = plan.getattr("connect")?.extract()?;
    let seconds = |name: &str| -> PyResult<Duration> {
        let seconds = plan.getattr(name)?.extract()?;
        Duration::try_from_secs_f64(seconds)
            .map_err(|error| PyValueError::new_err(error.to_string()))
    };
    let in_flight: usize = plan.getattr("in_flight")?.extract()?;
    if !(1..=MOST_IN_FLIGHT).contains(&in_flight) {
        let text = format!("calls in flight are 1 to {MOST_IN_FLIGHT}, not {in_flight}");
        return Err(PyValueError::new_err(text));
    }
    let calls: Option<u64> = plan.getattr("calls")?.extract()?;
    let spoken = plan.getattr("tls")?;
    let tls = if spoken.is_none() {
        None
    } else {
        let target: String = plan.getattr("target")?.extract()?;
        Some(TlsConnector::new(&tls::client(&spoken)?, &target.parse()?)?)
    };
    Ok(Plan {
        connect: connect
            .parse::<SocketAddr>()
            .map_err(|error| PyValueError::new_err(format!("{connect}: {error}")))?,
        tls,
        connections: plan.getattr("connections")?.extract()?,
        in_flight,
        measured: seconds("measured")?,
        warmup: seconds("warmup")?,
        calls: calls.unwrap_or(u64::MAX),
        stall: seconds("stall")?,
        expects: Expects::Anything,
    })
}

/// Makes the calls of a plan with one method and one request, on this thread.
///
/// `protocol` is `baidu_std` or `indexed`. `watch` is called about ten times a second with the
/// seconds that were measured, or None before that, the calls, and those that failed; what it raises
/// ends the calls and is raised. `ConnectionError` for a connection that is not made or lost.
#[pyfunction]
pub(super) fn generate_load<'py>(
    py: Python<'py>,
    protocol: &str,
    method: (String, String, u16),
    body: &[u8],
    plan: &Bound<'py, PyAny>,
    watch: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyDict>> {
    let plan = plan_of(plan)?;
    let watch = watch.clone().unbind();
    let mut raised = None;
    let mut tell = |progress: Progress| {
        let args = (progress.measured, progress.calls, progress.failed);
        Python::attach(|py| match enter::call(watch.bind(py), args) {
            Ok(_) => true,
            Err(error) => {
                raised = Some(error);
                false
            }
        })
    };
    let (service, name, index) = method;
    let finished = py.detach(|| match protocol {
        "baidu_std" => BaiduStd::new(&service, &name, body)
            .and_then(|wire| load::drive(&wire, body, &plan, &mut tell)),
        "indexed" => {
            Indexed::new(index, body).and_then(|wire| load::drive(&wire, body, &plan, &mut tell))
        }
        other => Err(format!("there is no load for {other}")),
    });
    if let Some(error) = raised {
        return Err(error);
    }
    match finished {
        Ok(finished) => told(py, &finished.report),
        Err(text) => Err(PyConnectionError::new_err(text)),
    }
}

fn told<'py>(py: Python<'py>, report: &Report) -> PyResult<Bound<'py, PyDict>> {
    let told = PyDict::new(py);
    told.set_item("calls", report.calls())?;
    told.set_item("failures", report.failures.clone())?;
    told.set_item("seconds", report.seconds)?;
    told.set_item("cpu_seconds", report.cpu_seconds)?;
    let quantiles = QUANTILES.map(|part| (part, report.micros(part)));
    told.set_item("quantiles_us", quantiles.to_vec())?;
    told.set_item("mean_us", report.mean_micros())?;
    told.set_item("max_us", report.longest_micros())?;
    Ok(told)
}
