//! What went and came beside a message, as Python sees it.

use bytes::Bytes;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyMemoryView, PyString, PyType};

use crate::call::{Answer, Ended, GREETING_KEY};
use crate::python::{enter, errors};
use crate::status::{Code, Status};
use crate::wire::compress::{self, CompressError, Compression};
use crate::wire::{Checksum, Extras, Parts, Payload, Trace};

/// What checksums cover, by name.
const CHECKSUMS: [(&str, Checksum); 3] = [
    ("none", Checksum::None),
    ("message", Checksum::Message),
    ("message_and_attachment", Checksum::MessageAndAttachment),
];

/// `value`, which must be of one kind, under a name that the user knows.
fn wrong(name: &str, kind: &str, value: &Bound<'_, PyAny>) -> PyErr {
    match value.get_type().name() {
        Ok(given) => PyTypeError::new_err(format!("{name} must be {kind}, not {given}")),
        Err(error) => error,
    }
}

/// The text that the user calls `name`.
pub(super) fn text(name: &str, value: &Bound<'_, PyAny>) -> PyResult<String> {
    let text = value
        .cast::<PyString>()
        .map_err(|_| wrong(name, "str", value))?;
    Ok(text.to_cow()?.into_owned())
}

/// The bytes that the user calls `name`, a copy of them where they are not `bytes`.
pub(super) fn bytes<'py>(name: &str, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(bytes.clone());
    }
    if value.cast::<PyByteArray>().is_ok() || value.cast::<PyMemoryView>().is_ok() {
        let copied = enter::call(PyType::new::<PyBytes>(value.py()).as_any(), (value,))?;
        return Ok(copied.cast_into()?);
    }
    Err(wrong(name, "bytes", value))
}

/// The keys and values of the mapping that the user calls `name`.
pub(super) fn entries(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<(String, String)>> {
    let py = value.py();
    let dict = if let Ok(dict) = value.cast::<PyDict>() {
        dict.clone()
    } else {
        let refused = || wrong(name, "a mapping of str to str", value);
        // Pairs would make a dict as well, and two letters are a pair.
        if !value.hasattr("keys")? {
            return Err(refused());
        }
        let made = enter::call(PyType::new::<PyDict>(py).as_any(), (value,));
        made.map_err(|_| refused())?.cast_into()?
    };
    let entry = |(key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
        let key = text(&format!("keys of {name}"), &key)?;
        let value = text(&format!("{name}[{key:?}]"), &value)?;
        Ok((key, value))
    };
    dict.iter().map(entry).collect()
}

fn named<T: Copy>(what: &str, names: &[(&str, T)], name: &str) -> PyResult<T> {
    let found = names.iter().find(|(other, _)| *other == name);
    found.map(|&(_, value)| value).ok_or_else(|| {
        let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
        let text = format!("{what} must be one of {}, not {name:?}", names.join(", "));
        PyValueError::new_err(text)
    })
}

/// The compression of that name.
pub(super) fn compression(name: &str) -> PyResult<Compression> {
    let names = Compression::ALL.map(|compression| (compression.name(), compression));
    named("compression", &names, name)
}

/// What a checksum of that name covers.
pub(super) fn checksum(name: &str) -> PyResult<Checksum> {
    named("checksum", &CHECKSUMS, name)
}

/// The name for what a checksum covers.
pub(super) fn checksum_name(checksum: Checksum) -> &'static str {
    let found = CHECKSUMS.iter().find(|(_, other)| *other == checksum);
    found.map_or("none", |&(name, _)| name)
}

/// The payload that `bytes` make, compressed where that is asked for.
pub(super) fn packed(
    py: Python<'_>,
    bytes: &[u8],
    compression: Compression,
) -> Result<Payload, CompressError> {
    let bytes = Bytes::copy_from_slice(bytes);
    if compression == Compression::None {
        return Ok(Payload::plain(bytes));
    }
    let bytes = py.detach(|| compress::deflate(compression, &bytes))?;
    Ok(Payload { bytes, compression })
}

/// The bytes of a message that came, inflated to at most `limit` bytes.
pub(super) fn opened(py: Python<'_>, body: Payload, limit: usize) -> Result<Bytes, String> {
    if body.compression == Compression::None {
        return Ok(body.bytes);
    }
    py.detach(|| compress::inflate(body.compression, &body.bytes, limit))
        .map_err(|error| error.to_string())
}

/// How a call ended: the failure or the response's bytes, and what came beside either.
pub(super) type Received<'py> = (
    Option<Bound<'py, PyAny>>,
    Option<Bound<'py, PyBytes>>,
    Option<CallExtras>,
);

/// What a call that ended brought back.
///
/// # Errors
/// `ValueError` for one that cannot be sent.
pub(super) fn received<'py>(
    py: Python<'py>,
    end: Ended,
    peer: &str,
    limit: usize,
) -> PyResult<Received<'py>> {
    let told = |status: &Status| errors::rpc_error(py, status, Some(peer)).map(Some);
    let Answer { body, extras } = match end {
        Ended::Answered(answer) => answer,
        Ended::Failed(status) | Ended::Unsent(status) => return Ok((told(&status)?, None, None)),
        Ended::Denied(status, extras) => return Ok((told(&status)?, None, beside(&extras))),
        Ended::Invalid(error) => return Err(error.into()),
    };
    let extras = beside(&extras);
    match opened(py, body, limit) {
        Ok(body) => Ok((None, Some(PyBytes::new(py, &body)), extras)),
        Err(fault) => {
            let text = format!("the response does not inflate: {fault}");
            Ok((told(&Status::new(Code::Internal, text))?, None, extras))
        }
    }
}

fn beside(extras: &Extras) -> Option<CallExtras> {
    extras.parts().map(|parts| CallExtras {
        parts: parts.clone(),
        compression: Compression::None,
    })
}

/// What goes or came beside a message.
#[pyclass(frozen, module = "callmethod._core")]
#[derive(Debug, Clone)]
pub(super) struct CallExtras {
    pub(super) parts: Parts,
    pub(super) compression: Compression,
}

impl CallExtras {
    pub(super) fn extras(&self) -> Extras {
        Extras::from(self.parts.clone())
    }
}

/// Keys and values as a dict.
pub(super) fn dict<'py>(
    py: Python<'py>,
    entries: &[(String, String)],
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (key, value) in entries {
        dict.set_item(key, value)?;
    }
    Ok(dict)
}

#[pymethods]
impl CallExtras {
    #[new]
    #[expect(clippy::too_many_arguments)]
    fn new(
        attachment: &Bound<'_, PyAny>,
        metadata: &Bound<'_, PyAny>,
        compression: &str,
        checksum: &str,
        log_id: Option<i64>,
        trace_id: Option<i64>,
        span_id: Option<i64>,
        parent_span_id: Option<i64>,
        request_id: Option<String>,
    ) -> PyResult<Self> {
        let metadata = entries("metadata", metadata)?;
        if metadata.iter().any(|(key, _)| key == GREETING_KEY) {
            let text = format!("the metadata key {GREETING_KEY:?} is callmethod's own");
            return Err(PyValueError::new_err(text));
        }
        Ok(Self {
            parts: Parts {
                attachment: Bytes::copy_from_slice(
                    bytes("request_attachment", attachment)?.as_bytes(),
                ),
                metadata,
                trace: Trace {
                    log_id,
                    trace_id,
                    span_id,
                    parent_span_id,
                    request_id,
                },
                credential: Bytes::new(),
                checksum: self::checksum(checksum)?,
            },
            compression: self::compression(compression)?,
        })
    }

    /// The raw bytes after the message.
    #[getter]
    fn attachment<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.parts.attachment)
    }

    /// The free keys and values.
    #[getter]
    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        dict(py, &self.parts.metadata)
    }
}
