//! What a connection knows of its peer by TLS.

use std::net::IpAddr;

/// How a connection is secured, and whom its peer has proven to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsInfo {
    /// `TLSv1.3` or `TLSv1.2`, as OpenSSL writes them.
    pub version: &'static str,
    /// The cipher suite, by its name at IANA.
    pub cipher: String,
    /// The server's name as the client gave it (RFC 6066, SNI).
    pub server_name: Option<String>,
    /// The peer's certificate, verified; a client may have shown none.
    pub certificate: Option<Certificate>,
}

/// The names in a certificate (RFC 5280).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Certificate {
    /// The subject, as RFC 4514 writes it.
    pub subject: String,
    /// The subject's common name.
    pub common_name: Option<String>,
    /// DNS names among the subject alternative names.
    pub dns_names: Vec<String>,
    /// URIs among them, SPIFFE ids for one.
    pub uris: Vec<String>,
    /// IP addresses among them.
    pub ip_addresses: Vec<IpAddr>,
    /// Mail addresses among them.
    pub email_addresses: Vec<String>,
    /// The issuer, as RFC 4514 writes it.
    pub issuer: String,
    /// The serial number, as hexadecimal bytes with colons.
    pub serial_number: String,
    /// When it expires, in seconds since 1970.
    pub not_after: u64,
    /// The whole of it.
    pub der: Vec<u8>,
}
