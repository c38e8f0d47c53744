//! What a handler sends along with its response.

use std::mem;
use std::sync::{Mutex, OnceLock, PoisonError};

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

/// Holds it; most responses have none, and make no lock.
#[derive(Debug, Default)]
pub(super) struct Envelope(OnceLock<Box<Mutex<Enclosed>>>);

impl Envelope {
    /// Reads or sets what is enclosed.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Enclosed) -> T) -> T {
        let enclosed = self.0.get_or_init(Box::default);
        work(&mut enclosed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is enclosed, to be sent; `None` when nothing is.
    pub(super) fn take(&self) -> Option<Enclosed> {
        self.0.get().map(|_| self.with(mem::take))
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
