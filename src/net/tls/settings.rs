//! What a user says about TLS, made into what rustls takes. All of it is checked here, once.

use std::sync::Arc;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, Error, InconsistentKeys, RootCertStore, ServerConfig};

use crate::net::tls::Pem;
use crate::net::tls::certificate::dns_names;
use crate::net::tls::choice::{Choice, Named};

/// Why nothing can be made of what a user said about TLS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct TlsError {
    text: String,
}

impl TlsError {
    pub(super) fn new(text: String) -> Self {
        Self { text }
    }
}

/// A chain of certificates and the key of the first one.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The chain; it may hold the key, too.
    pub cert: Pem,
    /// The key, where it lies elsewhere.
    pub key: Option<Pem>,
}

/// How a server speaks TLS.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Who it is.
    pub identity: Identity,
    /// Who it is for clients that ask for it by another name.
    pub others: Vec<Identity>,
    /// Who vouches for clients; without it none is asked who it is.
    pub client_ca: Option<Pem>,
    /// Which of their certificates are revoked.
    pub crl: Option<Pem>,
    /// Whether a client without a certificate is refused.
    pub requires_certificate: bool,
    /// Whether callers without TLS are served at the same port.
    pub also_plain: bool,
}

/// How a channel speaks TLS.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Who vouches for servers.
    pub ca: Pem,
    /// Which of their certificates are revoked.
    pub crl: Option<Pem>,
    /// Who it is, for servers that ask.
    pub identity: Option<Identity>,
    /// Whom a server's certificate must be for; the host of its address, if it is not said.
    pub server_name: Option<String>,
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

#[expect(clippy::needless_pass_by_value)]
fn unlikely(error: Error) -> TlsError {
    TlsError::new(error.to_string())
}

impl Identity {
    /// The chain and the key, which belong together, and as what signs by them.
    fn read(&self) -> Result<Read, TlsError> {
        let chain = self.cert.certificates()?;
        let from = self.key.as_ref().unwrap_or(&self.cert);
        if self.key.is_none() && !from.holds_key() {
            let text = format!(
                "{}: there is no private key in it, and no key= is given",
                from.name
            );
            return Err(TlsError::new(text));
        }
        let key = from.private_key()?;
        let checked = CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider());
        match checked {
            Ok(signs) => Ok(Read { chain, key, signs }),
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                let text = format!(
                    "the key in {} is not that of the first certificate in {}",
                    from.name, self.cert.name
                );
                Err(TlsError::new(text))
            }
            Err(error) => {
                let text = format!(
                    "{} and {}: a key or certificate that cannot be used; RSA from 2048 bits on, \
                     ECDSA on P-256 or P-384, and Ed25519 can: {error}",
                    self.cert.name, from.name
                );
                Err(TlsError::new(text))
            }
        }
    }
}

/// What was read of an [`Identity`].
struct Read {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    signs: CertifiedKey,
}

impl Read {
    /// The same by the names that its certificate is for.
    fn named(self) -> Named {
        let first = self.chain.first();
        Named {
            names: first.map(|first| dns_names(first)).unwrap_or_default(),
            key: Arc::new(self.signs),
        }
    }
}

/// The certificates of `ca` as those that are trusted.
fn roots(ca: &Pem) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in ca.certificates()? {
        roots.add(certificate).map_err(|error| {
            TlsError::new(format!(
                "{}: a certificate that is no CA's: {error}",
                ca.name
            ))
        })?;
    }
    Ok(Arc::new(roots))
}

fn lists(crl: Option<&Pem>) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    crl.map_or_else(|| Ok(Vec::new()), Pem::revocation_lists)
}

impl ServerSettings {
    /// The certificates by the names that they are for.
    fn choice(&self) -> Result<Choice, TlsError> {
        let other = |identity: &Identity| {
            let named = identity.read()?.named();
            if named.names.is_empty() {
                let text = format!(
                    "{}: it is for no DNS name, so that no client could ask for it",
                    identity.cert.name
                );
                return Err(TlsError::new(text));
            }
            Ok(named)
        };
        Ok(Choice {
            usual: self.identity.read()?.named(),
            others: self.others.iter().map(other).collect::<Result<_, _>>()?,
        })
    }

    /// The configuration of the handshakes to come.
    pub(super) fn config(&self) -> Result<ServerConfig, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(unlikely)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(ca) => {
                // A status that is not known, or known from a list that is too old, is a refusal.
                let mut verifier =
                    WebPkiClientVerifier::builder_with_provider(roots(ca)?, provider())
                        .with_crls(lists(self.crl.as_ref())?)
                        .enforce_revocation_expiration();
                if !self.requires_certificate {
                    verifier = verifier.allow_unauthenticated();
                }
                let verifier = verifier.build().map_err(|error| {
                    let name = self.crl.as_ref().map_or(&ca.name, |crl| &crl.name);
                    TlsError::new(format!("{name}: {error}"))
                })?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(self.choice()?));
        // A session that is resumed is not verified again: neither a list that came since then nor
        // a date that has passed would count. Connections last, so that little would be won.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

impl ClientSettings {
    /// The configuration of the handshakes to come.
    pub(super) fn config(&self) -> Result<ClientConfig, TlsError> {
        let verifier = WebPkiServerVerifier::builder_with_provider(roots(&self.ca)?, provider())
            .with_crls(lists(self.crl.as_ref())?)
            .enforce_revocation_expiration()
            .build()
            .map_err(|error| {
                let name = self.crl.as_ref().map_or(&self.ca.name, |crl| &crl.name);
                TlsError::new(format!("{name}: {error}"))
            })?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(unlikely)?
            .with_webpki_verifier(verifier);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let Read { chain, key, .. } = identity.read()?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(unlikely)?
            }
        };
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}
