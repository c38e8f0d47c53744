//! Options, field by field as in `options.py` and `protocols.py`.

use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::net::client::ChannelOptions;
use crate::wire::indexed::{ByteOrder, Layout, LengthCovers, Reply};
use crate::wire::limits;

/// `callmethod.Indexed`.
pub(super) struct Indexed {
    pub(super) layout: Layout,
    pub(super) coalesce: bool,
    pub(super) close_on_bad_body: bool,
}

fn one_of<T: Copy>(options: &Bound<'_, PyAny>, field: &str, values: &[(&str, T)]) -> PyResult<T> {
    let given: String = options.getattr(field)?.extract()?;
    let found = values
        .iter()
        .find(|(name, _)| *name == given)
        .map(|&(_, value)| value);
    found.ok_or_else(|| {
        let names: Vec<_> = values.iter().map(|(name, _)| format!("{name:?}")).collect();
        PyValueError::new_err(format!(
            "{field} must be one of {}, not {given:?}",
            names.join(", ")
        ))
    })
}

impl Indexed {
    /// Reads and checks the options; `max_length` falls back on the message limit in bytes.
    pub(super) fn read(options: &Bound<'_, PyAny>, message_limit: u64) -> PyResult<Self> {
        let number = |field| options.getattr(field)?.extract::<usize>();
        let max_length: Option<u64> = options.getattr("max_length")?.extract()?;
        let layout = Layout {
            byte_order: one_of(
                options,
                "byte_order",
                &[("little", ByteOrder::Little), ("big", ByteOrder::Big)],
            )?,
            length_width: number("length_width")?,
            length_covers: one_of(
                options,
                "length_covers",
                &[
                    ("after_length", LengthCovers::AfterLength),
                    ("whole_frame", LengthCovers::WholeFrame),
                    ("body_only", LengthCovers::BodyOnly),
                ],
            )?,
            index_width: number("index_width")?,
            id_width: number("id_width")?,
            reply: one_of(
                options,
                "reply",
                &[
                    ("none", Reply::None),
                    ("by_id", Reply::ById),
                    ("in_order", Reply::InOrder),
                ],
            )?,
            max_length: max_length.unwrap_or(message_limit),
        };
        Ok(Self {
            layout: layout.checked()?,
            coalesce: options.getattr("coalesce")?.extract()?,
            close_on_bad_body: one_of(options, "on_bad_body", &[("close", true), ("skip", false)])?,
        })
    }

    /// The same for a server or a channel, which have no answers yet.
    pub(super) fn one_way(options: &Bound<'_, PyAny>) -> PyResult<Self> {
        let indexed = Self::read(options, limits::MESSAGE_BYTES)?;
        if indexed.layout.is_one_way() {
            return Ok(indexed);
        }
        Err(PyValueError::new_err(
            "layouts with id_width or reply are known to the codec only, for now: \
             calls have no answers yet",
        ))
    }
}

/// Raises `ValueError` for a protocol whose calls have answers.
#[pyfunction]
pub(super) fn check_one_way(protocol: &Bound<'_, PyAny>) -> PyResult<()> {
    Indexed::one_way(protocol).map(drop)
}

/// Seconds; negative ones count as none at all.
pub(super) fn seconds(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds.max(0.0))
        .map_err(|error| PyValueError::new_err(format!("{seconds} s: {error}")))
}

/// `callmethod.ChannelOptions`.
pub(super) fn channel(options: &Bound<'_, PyAny>, serves: bool) -> PyResult<ChannelOptions> {
    let duration = |field| seconds(options.getattr(field)?.extract()?);
    Ok(ChannelOptions {
        wait_for_ready: options.getattr("wait_for_ready")?.extract()?,
        keep_connected: serves,
        connect_timeout: duration("connect_timeout")?,
        backoff_min: duration("backoff_min")?,
        backoff_max: duration("backoff_max")?,
    })
}
