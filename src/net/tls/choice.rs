//! Which of a server's certificates a client is shown: one for the name that it asks for (SNI,
//! RFC 6066).

use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// A certificate, and the DNS names that it is for.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) names: Vec<String>,
    pub(super) key: Arc<CertifiedKey>,
}

/// The certificates of one port.
#[derive(Debug)]
pub(super) struct Choice {
    /// For who asks for no name, or for one of which there is no certificate.
    pub(super) usual: Named,
    pub(super) others: Vec<Named>,
}

impl Named {
    /// Whether it is for this name, of which `domain` is what follows the first dot.
    fn is_for(&self, name: &str, domain: Option<&str>, wild: bool) -> bool {
        self.names.iter().any(|own| match own.strip_prefix("*.") {
            Some(own) => wild && domain.is_some_and(|domain| own.eq_ignore_ascii_case(domain)),
            None => !wild && own.eq_ignore_ascii_case(name),
        })
    }
}

impl Choice {
    /// The first one that is for this name and will do: the name itself goes before a wildcard,
    /// which stands for one label (RFC 9525).
    fn choose(&self, name: &str, will_do: impl Fn(&CertifiedKey) -> bool) -> &Named {
        let domain = name.split_once('.').map(|(_, domain)| domain);
        let all = || std::iter::once(&self.usual).chain(&self.others);
        let find = |wild| all().find(|one| one.is_for(name, domain, wild) && will_do(&one.key));
        find(false).or_else(|| find(true)).unwrap_or(&self.usual)
    }
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let Some(name) = hello.server_name() else {
            return Some(Arc::clone(&self.usual.key));
        };
        let schemes = hello.signature_schemes();
        let will_do = |one: &CertifiedKey| one.key.choose_scheme(schemes).is_some();
        Some(Arc::clone(&self.choose(name, will_do).key))
    }
}
