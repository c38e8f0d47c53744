//! The indexed codec without a socket.

use bytes::BytesMut;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::sync::{Mutex, PoisonError};

use crate::python::answer;
use crate::python::options::Indexed;
use crate::wire::indexed::{FrameKind, IndexedCodec as Layouted};
use crate::wire::{Head, WireError};

/// `(index, id, body)` of a frame.
type RawFrame<'py> = (Option<u32>, Option<u64>, Bound<'py, PyBytes>);

/// Frames, and what is wrong with what came after them: reason and text.
type Decoded<'py> = (Vec<RawFrame<'py>>, Option<(&'static str, String)>);

struct Reading {
    buffer: BytesMut,
    broken: Option<WireError>,
}

/// A codec of one layout and the unfinished bytes of one stream.
#[pyclass(frozen, subclass, module = "callmethod._core")]
pub(super) struct IndexedCodec {
    codec: Layouted,
    receives: FrameKind,
    reading: Mutex<Reading>,
}

fn described(error: WireError) -> (&'static str, String) {
    (error.reason(), error.to_string())
}

#[pymethods]
impl IndexedCodec {
    #[new]
    fn new(protocol: &Bound<'_, PyAny>, receives: &str, message_limit: u64) -> PyResult<Self> {
        let receives = match receives {
            "calls" => FrameKind::Call,
            "replies" => FrameKind::Reply,
            other => {
                let text = format!("receives must be \"calls\" or \"replies\", not {other:?}");
                return Err(PyValueError::new_err(text));
            }
        };
        let layout = Indexed::read(protocol, message_limit)?.layout;
        let reading = Reading {
            buffer: BytesMut::new(),
            broken: None,
        };
        Ok(Self {
            codec: Layouted::new(layout),
            receives,
            reading: Mutex::new(reading),
        })
    }

    /// A whole call frame.
    #[pyo3(signature = (index, body, id))]
    fn encode_call<'py>(
        &self,
        py: Python<'py>,
        index: u32,
        body: &Bound<'_, PyAny>,
        id: Option<u64>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let body = answer::bytes("body", body)?;
        let body = body.as_bytes();
        whole(py, &self.codec.call_head(index, id, body.len())?, body)
    }

    /// A whole reply frame.
    #[pyo3(signature = (body, id))]
    fn encode_answer<'py>(
        &self,
        py: Python<'py>,
        body: &Bound<'_, PyAny>,
        id: Option<u64>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let body = answer::bytes("body", body)?;
        let body = body.as_bytes();
        whole(py, &self.codec.reply_head(id, body.len())?, body)
    }

    /// The frames that `data` completes, and what is wrong with it: reason and text.
    fn decode<'py>(&self, py: Python<'py>, data: &Bound<'py, PyAny>) -> PyResult<Decoded<'py>> {
        let data = answer::bytes("data", data)?;
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = reading.broken {
            return Ok((Vec::new(), Some(described(error))));
        }
        reading.buffer.extend_from_slice(data.as_bytes());
        let mut frames = Vec::new();
        loop {
            match self.codec.decode(self.receives, &mut reading.buffer) {
                Ok(Some(frame)) => {
                    frames.push((frame.index, frame.id, PyBytes::new(py, &frame.body)));
                }
                Ok(None) => return Ok((frames, None)),
                Err(error) => {
                    *reading = Reading {
                        buffer: BytesMut::new(),
                        broken: Some(error),
                    };
                    return Ok((frames, Some(described(error))));
                }
            }
        }
    }

    /// What is wrong when the stream ends here: reason and text.
    fn end(&self) -> Option<(&'static str, String)> {
        let reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let received = reading.buffer.len();
        let truncated = (received > 0).then_some(WireError::Truncated { received });
        reading.broken.or(truncated).map(described)
    }
}

fn whole<'py>(py: Python<'py>, head: &Head, body: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let head = head.as_slice();
    PyBytes::new_with(py, head.len() + body.len(), |room| {
        let (front, back) = room.split_at_mut(head.len());
        front.copy_from_slice(head);
        back.copy_from_slice(body);
        Ok(())
    })
}
