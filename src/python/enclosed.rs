//! What a handler sends along with its response.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;

use crate::python::answer;
use crate::wire::Parts;
use crate::wire::compress::Compression;

/// What goes beside a response, and how it is packed.
#[derive(Debug, Default)]
pub(super) struct Enclosed {
    pub(super) parts: Parts,
    pub(super) compression: Compression,
}

/// Holds it; most responses have none.
#[derive(Debug, Default)]
pub(super) struct Envelope(Mutex<Option<Box<Enclosed>>>);

impl Envelope {
    /// Reads or sets what is enclosed.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Enclosed) -> T) -> T {
        let mut enclosed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        work(enclosed.get_or_insert_default())
    }

    /// What is enclosed, to be sent; `None` when nothing is.
    pub(super) fn take(&self) -> Option<Box<Enclosed>> {
        let mut enclosed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        enclosed.take()
    }

    /// Sets the attribute `name`; `None` for names that are not of that kind.
    pub(super) fn set(&self, name: &str, value: &Bound<'_, PyAny>) -> Option<PyResult<()>> {
        let set = || -> PyResult<bool> {
            match name {
                "response_attachment" => {
                    let bytes = answer::bytes(name, value)?.as_bytes().to_vec();
                    self.with(|enclosed| enclosed.parts.attachment = bytes.into());
                }
                "response_metadata" => {
                    let mut entries = answer::entries(name, value)?;
                    entries.sort();
                    self.with(|enclosed| enclosed.parts.metadata = entries);
                }
                "response_compression" => {
                    let compression = answer::compression(&answer::text(name, value)?)?;
                    self.with(|enclosed| enclosed.compression = compression);
                }
                "response_checksum" => {
                    let checksum = answer::checksum(&answer::text(name, value)?)?;
                    self.with(|enclosed| enclosed.parts.checksum = checksum);
                }
                _ => return Ok(false),
            }
            Ok(true)
        };
        match set() {
            Ok(true) => Some(Ok(())),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}
