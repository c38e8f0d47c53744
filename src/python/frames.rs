//! Frames of a recorded stream, for people to look at.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::python::options::Protocol;
use crate::wire::compress::inflate;
use crate::wire::{Codec, Frame, Payload, Reads, Target, WireError};

struct Reading {
    buffer: BytesMut,
    /// How many bytes came before the buffer's.
    offset: u64,
    broken: Option<WireError>,
}

/// Cuts a stream of one protocol into frames, and says all that is in them.
#[pyclass(frozen, module = "callmethod._core")]
pub(super) struct FrameReader {
    codec: Arc<dyn Codec>,
    reads: Reads,
    reading: Mutex<Reading>,
}

/// Frames, and what is wrong with what came after them.
type Frames<'py> = (Vec<Bound<'py, PyDict>>, Option<String>);

#[pymethods]
impl FrameReader {
    /// `reads` is `calls`, `replies`, or `both` for protocols whose frames tell which they are.
    #[new]
    fn new(protocol: &Bound<'_, PyAny>, reads: &str) -> PyResult<Self> {
        let reads = match reads {
            "calls" => Reads::Calls,
            "replies" => Reads::Replies,
            "both" => Reads::Both,
            other => {
                let text =
                    format!("reads must be \"calls\", \"replies\" or \"both\", not {other:?}");
                return Err(PyValueError::new_err(text));
            }
        };
        let reading = Reading {
            buffer: BytesMut::new(),
            offset: 0,
            broken: None,
        };
        Ok(Self {
            codec: Protocol::read(protocol)?.codec,
            reads,
            reading: Mutex::new(reading),
        })
    }

    /// The frames that `data` completes, and what is wrong with what comes after them.
    fn feed<'py>(&self, py: Python<'py>, data: &[u8]) -> PyResult<Frames<'py>> {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let reading = &mut *reading;
        let mut frames = Vec::new();
        if reading.broken.is_none() {
            reading.buffer.extend_from_slice(data);
        }
        while reading.broken.is_none() {
            let before = reading.buffer.len();
            match self.codec.decode(self.reads, &mut reading.buffer) {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    let length = (before - reading.buffer.len()) as u64;
                    let shown = self.shown(py, frame)?;
                    shown.set_item("offset", reading.offset)?;
                    shown.set_item("length", length)?;
                    reading.offset += length;
                    frames.push(shown);
                }
                Err(error) => reading.broken = Some(error),
            }
        }
        let told = |error: WireError| format!("byte {}: {error}", reading.offset);
        Ok((frames, reading.broken.map(told)))
    }

    /// What is wrong when the stream ends here.
    fn end(&self) -> Option<String> {
        let reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let received = reading.buffer.len();
        let error = reading
            .broken
            .or_else(|| (received > 0).then_some(WireError::Truncated { received }));
        error.map(|error| format!("byte {}: {error}", reading.offset))
    }
}

impl FrameReader {
    fn shown<'py>(&self, py: Python<'py>, frame: Frame) -> PyResult<Bound<'py, PyDict>> {
        let shown = PyDict::new(py);
        let extras = match frame {
            Frame::Call(call) => {
                shown.set_item("kind", "call")?;
                match call.target {
                    Target::Index(index) => shown.set_item("index", index)?,
                    Target::Name { service, method } => {
                        shown.set_item("service", String::from_utf8_lossy(&service))?;
                        shown.set_item("method", String::from_utf8_lossy(&method))?;
                    }
                    Target::Place { service, index } => {
                        shown.set_item("service", String::from_utf8_lossy(&service))?;
                        shown.set_item("index", index)?;
                    }
                }
                shown.set_item("id", call.id)?;
                shown.set_item("timeout", call.timeout.map(|left| left.as_secs_f64()))?;
                match call.body {
                    Ok(body) => self.set_body(&shown, &body)?,
                    Err(fault) => shown.set_item("fault", fault.to_string())?,
                }
                call.extras
            }
            Frame::Reply(reply) => {
                shown.set_item("kind", "reply")?;
                shown.set_item("id", reply.id)?;
                match reply.outcome {
                    Ok(body) => self.set_body(&shown, &body)?,
                    Err(status) => {
                        shown.set_item("code", status.code.name())?;
                        shown.set_item("text", status.text)?;
                        shown.set_item("native", status.native)?;
                    }
                }
                reply.extras
            }
        };
        if let Some(parts) = extras.parts() {
            shown.set_item("attachment", parts.attachment.len())?;
            let metadata = PyDict::new(py);
            for (key, value) in &parts.metadata {
                metadata.set_item(key, value)?;
            }
            shown.set_item("metadata", metadata)?;
        }
        Ok(shown)
    }

    fn set_body(&self, shown: &Bound<'_, PyDict>, body: &Payload) -> PyResult<()> {
        let limit = usize::try_from(self.codec.limit()).unwrap_or(usize::MAX);
        let inflated: Result<Bytes, _> = inflate(body.compression, &body.bytes, limit);
        match inflated {
            Ok(bytes) => shown.set_item("body", PyBytes::new(shown.py(), &bytes)),
            Err(error) => shown.set_item("fault", error.to_string()),
        }
    }
}
