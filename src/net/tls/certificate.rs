//! What a session says of its peer: the names in the certificate that was verified.

use std::net::IpAddr;

use rustls::Connection as Session;
use rustls::ProtocolVersion;
use x509_cert::Certificate as Parsed;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::call::{Certificate, TlsInfo};

/// What is known after the handshake.
pub(super) fn info(session: &Session) -> TlsInfo {
    let server_name = match session {
        Session::Server(session) => session.server_name().map(str::to_owned),
        Session::Client(_) => None,
    };
    let cipher = session.negotiated_cipher_suite().map(|suite| suite.suite());
    let chain = session.peer_certificates().unwrap_or_default();
    TlsInfo {
        version: match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        },
        cipher: cipher
            .and_then(|suite| suite.as_str())
            .unwrap_or_default()
            .to_owned(),
        server_name,
        certificate: chain.first().map(|der| read(der)),
    }
}

/// The DNS names that a certificate is for.
pub(super) fn dns_names(der: &[u8]) -> Vec<String> {
    read(der).dns_names
}

/// The names in a certificate. One that was verified and cannot be read has no names, which no
/// rule that asks for one will take.
fn read(der: &[u8]) -> Certificate {
    let bare = Certificate {
        der: der.to_vec(),
        ..Certificate::default()
    };
    let Ok(parsed) = Parsed::from_der(der) else {
        return bare;
    };
    let signed = parsed.tbs_certificate();
    let common_name = signed.subject().common_name().ok().flatten();
    let expires = signed.validity().not_after.to_unix_duration();
    let mut certificate = Certificate {
        subject: signed.subject().to_string(),
        common_name: common_name.map(|name| name.value().into_owned()),
        issuer: signed.issuer().to_string(),
        serial_number: signed.serial_number().to_string(),
        not_after: expires.as_secs(),
        ..bare
    };
    // More than one extension of this kind is none that RFC 5280 allows.
    if let Ok(Some((_, names))) = signed.get_extension::<SubjectAltName>() {
        for name in names.0 {
            certificate.add(name);
        }
    }
    certificate
}

impl Certificate {
    fn add(&mut self, name: GeneralName) {
        match name {
            GeneralName::DnsName(name) => self.dns_names.push(name.to_string()),
            GeneralName::UniformResourceIdentifier(uri) => self.uris.push(uri.to_string()),
            GeneralName::Rfc822Name(address) => self.email_addresses.push(address.to_string()),
            GeneralName::IpAddress(octets) => {
                self.ip_addresses.extend(ip_address(octets.as_bytes()));
            }
            _ => {}
        }
    }
}

fn ip_address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .ok()
}
