//! TLS: `callmethod.ServerTls` and `ClientTls` as settings, and what is known of a peer.

use std::fs;
use std::path::PathBuf;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::call::{Certificate, TlsInfo};
use crate::net::tls::{
    ClientSettings, Identity, Pem, ServerSettings, TlsAcceptor, TlsConnector, TlsError,
};
use crate::python::{enter, errors, imports};

impl From<TlsError> for PyErr {
    fn from(error: TlsError) -> Self {
        PyValueError::new_err(error.to_string())
    }
}

/// What a field names: a file, or the PEM itself.
fn pem(options: &Bound<'_, PyAny>, field: &str) -> PyResult<Option<Pem>> {
    read(&options.getattr(field)?, field)
}

/// The same of what was given for `field`.
fn read(given: &Bound<'_, PyAny>, field: &str) -> PyResult<Option<Pem>> {
    if given.is_none() {
        return Ok(None);
    }
    if let Ok(bytes) = given.cast::<PyBytes>() {
        let (name, bytes) = (format!("{field}="), bytes.as_bytes().to_vec());
        return Ok(Some(Pem { name, bytes }));
    }
    let path: PathBuf = given.extract()?;
    let name = path.display().to_string();
    let read = fs::read(&path);
    let bytes = read.map_err(|error| errors::os_error(&error, &format!("{field}={name:?}")))?;
    Ok(Some(Pem { name, bytes }))
}

/// The same where something must be named.
fn some_pem(options: &Bound<'_, PyAny>, field: &str) -> PyResult<Pem> {
    let missing = || PyValueError::new_err(format!("{field}= is missing"));
    pem(options, field)?.ok_or_else(missing)
}

/// The pairs in `callmethod.ServerTls.others`.
fn others(options: &Bound<'_, PyAny>) -> PyResult<Vec<Identity>> {
    let mut others = Vec::new();
    for (place, pair) in options.getattr("others")?.try_iter()?.enumerate() {
        let pair = pair?;
        let (cert, key) = (pair.get_item(0)?, pair.get_item(1)?);
        let missing = || PyValueError::new_err(format!("others[{place}] has no certificate"));
        others.push(Identity {
            cert: read(&cert, &format!("others[{place}][0]"))?.ok_or_else(missing)?,
            key: read(&key, &format!("others[{place}][1]"))?,
        });
    }
    Ok(others)
}

/// `callmethod.ServerTls`.
pub(super) fn server(options: &Bound<'_, PyAny>) -> PyResult<ServerSettings> {
    Ok(ServerSettings {
        identity: Identity {
            cert: some_pem(options, "cert")?,
            key: pem(options, "key")?,
        },
        others: others(options)?,
        client_ca: pem(options, "client_ca")?,
        crl: pem(options, "crl")?,
        requires_certificate: options.getattr("require_client_certificate")?.extract()?,
        also_plain: options.getattr("also_plain")?.extract()?,
    })
}

/// `callmethod.ClientTls`.
pub(super) fn client(options: &Bound<'_, PyAny>) -> PyResult<ClientSettings> {
    let key = pem(options, "key")?;
    let cert = pem(options, "cert")?;
    Ok(ClientSettings {
        ca: some_pem(options, "ca")?,
        crl: pem(options, "crl")?,
        identity: cert.map(|cert| Identity { cert, key }),
        server_name: options.getattr("server_name")?.extract()?,
    })
}

/// Reads what `callmethod.ServerTls` names, and raises when no server could speak TLS by it.
#[pyfunction]
pub(super) fn check_server_tls(options: &Bound<'_, PyAny>) -> PyResult<()> {
    TlsAcceptor::new(&server(options)?)?;
    Ok(())
}

/// Reads what `callmethod.ClientTls` names, and raises when no channel could speak TLS by it.
#[pyfunction]
pub(super) fn check_client_tls(options: &Bound<'_, PyAny>) -> PyResult<()> {
    let settings = client(options)?;
    // Any address will do: of a channel's own only the host is looked at.
    TlsConnector::new(&settings, &"localhost:0".parse()?)?;
    Ok(())
}

/// `callmethod.TlsInfo`.
pub(super) fn info<'py>(py: Python<'py>, info: &TlsInfo) -> PyResult<Bound<'py, PyAny>> {
    let certificate = info.certificate.as_ref();
    let certificate = certificate.map(|found| names(py, found)).transpose()?;
    enter::call(
        imports::tls_info(py)?,
        (info.version, &info.cipher, &info.server_name, certificate),
    )
}

/// `callmethod.Certificate`.
fn names<'py>(py: Python<'py>, found: &Certificate) -> PyResult<Bound<'py, PyAny>> {
    let addresses: Vec<_> = found.ip_addresses.iter().map(ToString::to_string).collect();
    let subject = (
        &found.subject,
        &found.common_name,
        &found.dns_names,
        &found.uris,
        addresses,
        &found.email_addresses,
    );
    let issued = (
        &found.issuer,
        &found.serial_number,
        found.not_after,
        PyBytes::new(py, &found.der),
    );
    enter::call(imports::certificate(py)?, (subject, issued))
}
