//! Certificates, keys and revocation lists in PEM (RFC 7468).

use rustls::pki_types::pem::{Error, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::net::tls::TlsError;

/// A text in PEM, and the name by which its giver knows it.
#[derive(Debug, Clone)]
pub struct Pem {
    /// A file's, or what the option is called.
    pub name: String,
    /// What it holds.
    pub bytes: Vec<u8>,
}

impl Pem {
    fn fault(&self, what: impl std::fmt::Display) -> TlsError {
        TlsError::new(format!("{}: {what}", self.name))
    }

    fn all<T: PemObject>(&self, what: &str) -> Result<Vec<T>, TlsError> {
        let found: Result<Vec<_>, _> = T::pem_slice_iter(&self.bytes).collect();
        let found = found.map_err(|error| self.fault(format_args!("no valid PEM: {error}")))?;
        if found.is_empty() {
            return Err(self.fault(format_args!("there is no {what} in PEM in it")));
        }
        Ok(found)
    }

    /// The certificates in it, one at least.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        self.all("certificate")
    }

    /// The revocation lists in it, one at least.
    pub(super) fn revocation_lists(
        &self,
    ) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
        self.all("certificate revocation list")
    }

    /// The private key in it.
    pub(super) fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        match PrivateKeyDer::from_pem_slice(&self.bytes) {
            Ok(key) => Ok(key),
            Err(Error::NoItemsFound) if self.is_encrypted() => {
                Err(self.fault("the private key is encrypted; give it decrypted"))
            }
            Err(Error::NoItemsFound) => Err(self.fault("there is no private key in PEM in it")),
            Err(error) => Err(self.fault(format_args!("no valid PEM: {error}"))),
        }
    }

    /// Whether a key is in it that takes a pass phrase to read.
    fn is_encrypted(&self) -> bool {
        let marks: [&[u8]; 2] = [b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED"];
        let holds = |mark: &[u8]| self.bytes.windows(mark.len()).any(|part| part == mark);
        marks.into_iter().any(holds)
    }

    /// Whether a private key is in it.
    pub(super) fn holds_key(&self) -> bool {
        let sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(&self.bytes);
        let is_key = |kind| {
            matches!(
                kind,
                SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey
            )
        };
        sections.flatten().any(|(kind, _)| is_key(kind))
    }
}
