//! Why something that a peer sent is not run.

use crate::status::{Code, Status};
use crate::wire::WireError;
use crate::wire::baidu_std::errno;

/// Why something that a peer sent was not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectReason {
    /// The announced length does not cover what stands before the body.
    LengthBelowHeader,
    /// The announced length is above the limit.
    LengthAboveLimit,
    /// No method has that index.
    UnknownMethod,
    /// The body is no request of the method.
    BadBody,
    /// The stream ended inside a frame.
    Truncated,
    /// The frame does not begin as frames of the protocol do.
    BadMagic,
    /// The sizes in a frame's header contradict each other.
    BadSizes,
    /// The meta of a frame is not what the protocol defines.
    BadMeta,
    /// The first bytes are those of no protocol that is spoken here.
    UnknownProtocol,
    /// The first bytes did not come in time.
    HandshakeTimeout,
    /// There are as many connections as may be.
    TooManyConnections,
    /// The rest of a frame did not come in time.
    FrameTimeout,
    /// All connections together held too much of unfinished frames.
    UnfinishedBytes,
    /// What came is not the TLS that is spoken here.
    TlsExpected,
    /// TLS came where none is spoken.
    TlsUnexpected,
    /// The peer speaks no version of TLS that is spoken here.
    TlsVersion,
    /// A TLS handshake failed for another reason.
    TlsHandshake,
    /// The peer refused the connection, by an alert of TLS.
    TlsRefused,
    /// Bytes came that TLS does not allow, or that were changed on their way.
    TlsRecord,
    /// As many TLS handshakes are under way as may be.
    TlsBusy,
    /// The client showed no certificate.
    CertificateMissing,
    /// Nobody who is trusted vouches for the peer's certificate.
    CertificateUntrusted,
    /// The peer's certificate has expired, or is not valid yet.
    CertificateExpired,
    /// The peer's certificate is revoked, or it is not known whether it is.
    CertificateRevoked,
    /// The server's certificate is for another name.
    CertificateName,
    /// The caller is not who it says it is, or does not say.
    Unauthenticated,
    /// An answer came that belongs to no call.
    UnexpectedReply,
    /// As much is under way as may be.
    Overload,
    /// The server stops.
    Stopping,
    /// The caller's deadline had passed.
    Expired,
}

impl RejectReason {
    /// All reasons.
    pub const ALL: [Self; 30] = [
        Self::LengthBelowHeader,
        Self::LengthAboveLimit,
        Self::UnknownMethod,
        Self::BadBody,
        Self::Truncated,
        Self::BadMagic,
        Self::BadSizes,
        Self::BadMeta,
        Self::UnknownProtocol,
        Self::HandshakeTimeout,
        Self::TooManyConnections,
        Self::FrameTimeout,
        Self::UnfinishedBytes,
        Self::TlsExpected,
        Self::TlsUnexpected,
        Self::TlsVersion,
        Self::TlsHandshake,
        Self::TlsRefused,
        Self::TlsRecord,
        Self::TlsBusy,
        Self::CertificateMissing,
        Self::CertificateUntrusted,
        Self::CertificateExpired,
        Self::CertificateRevoked,
        Self::CertificateName,
        Self::Unauthenticated,
        Self::UnexpectedReply,
        Self::Overload,
        Self::Stopping,
        Self::Expired,
    ];

    /// The label it is counted under.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::LengthBelowHeader => "length_below_header",
            Self::LengthAboveLimit => "length_above_limit",
            Self::UnknownMethod => "unknown_method",
            Self::BadBody => "bad_body",
            Self::Truncated => "truncated",
            Self::BadMagic => "bad_magic",
            Self::BadSizes => "bad_sizes",
            Self::BadMeta => "bad_meta",
            Self::UnknownProtocol => "unknown_protocol",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::TooManyConnections => "too_many_connections",
            Self::FrameTimeout => "frame_timeout",
            Self::UnfinishedBytes => "unfinished_bytes",
            Self::TlsExpected => "tls_expected",
            Self::TlsUnexpected => "tls_unexpected",
            Self::TlsVersion => "tls_version",
            Self::TlsHandshake => "tls_handshake",
            Self::TlsRefused => "tls_refused",
            Self::TlsRecord => "tls_record",
            Self::TlsBusy => "tls_busy",
            Self::CertificateMissing => "certificate_missing",
            Self::CertificateUntrusted => "certificate_untrusted",
            Self::CertificateExpired => "certificate_expired",
            Self::CertificateRevoked => "certificate_revoked",
            Self::CertificateName => "certificate_name",
            Self::Unauthenticated => "unauthenticated",
            Self::UnexpectedReply => "unexpected_reply",
            Self::Overload => "overload",
            Self::Stopping => "stopping",
            Self::Expired => "expired",
        }
    }
}

impl From<WireError> for RejectReason {
    fn from(error: WireError) -> Self {
        match error {
            WireError::LengthBelowHeader { .. } => Self::LengthBelowHeader,
            WireError::LengthAboveLimit { .. } => Self::LengthAboveLimit,
            WireError::Truncated { .. } => Self::Truncated,
            WireError::Magic { .. } => Self::BadMagic,
            WireError::Sizes { .. } | WireError::Sum { .. } => Self::BadSizes,
            WireError::Meta(_) => Self::BadMeta,
        }
    }
}

/// A frame that names nothing that is served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No method has that index.
    #[error("method index {index} is not below {methods}, the number of methods of {service}")]
    Index {
        /// The index on the wire.
        index: u32,
        /// How many methods there are.
        methods: usize,
        /// Full name of the service.
        service: String,
    },
    /// No service has that name.
    #[error("no service {service:?} is served here")]
    Service {
        /// The name on the wire, escaped.
        service: String,
    },
    /// No method has that name or place.
    #[error("no method {method:?} of {service:?} is served here")]
    Method {
        /// The service's name on the wire, escaped.
        service: String,
        /// The method's name or place, escaped.
        method: String,
    },
}

impl Refusal {
    /// What the caller is told, with the number that brpc has for it.
    #[must_use]
    pub fn status(&self) -> Status {
        let native = match self {
            Self::Service { .. } => errno::ENOSERVICE,
            Self::Index { .. } | Self::Method { .. } => errno::ENOMETHOD,
        };
        Status::new(Code::Unimplemented, self.to_string()).with_native(native)
    }
}
