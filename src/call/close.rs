//! Why a connection ended.

use std::fmt;

use crate::call::RejectReason;

/// The kinds of endings, each counted under its label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseKind {
    /// The peer closed its side between two frames.
    PeerClosed,
    /// The connection broke.
    Reset,
    /// The peer sent what no honest peer sends.
    Rejected(RejectReason),
    /// This side closed it.
    Closed,
    /// The server stopped.
    ServerStopped,
    /// What this side had to say could not be written.
    WriteFailed,
    /// The peer did not read what this side had to say.
    WriteTimeout,
    /// Nothing went over it for too long.
    IdleTimeout,
    /// The factory made no service for this connection.
    ServiceFailed,
    /// A call failed, and the wire has no other way to say so.
    CallFailed,
    /// The core panicked.
    Fault,
}

impl CloseKind {
    /// All kinds.
    pub const ALL: [Self; 37] = [
        Self::PeerClosed,
        Self::Reset,
        Self::Rejected(RejectReason::LengthBelowHeader),
        Self::Rejected(RejectReason::LengthAboveLimit),
        Self::Rejected(RejectReason::UnknownMethod),
        Self::Rejected(RejectReason::BadBody),
        Self::Rejected(RejectReason::Truncated),
        Self::Rejected(RejectReason::BadMagic),
        Self::Rejected(RejectReason::BadSizes),
        Self::Rejected(RejectReason::BadMeta),
        Self::Rejected(RejectReason::UnknownProtocol),
        Self::Rejected(RejectReason::HandshakeTimeout),
        Self::Rejected(RejectReason::TooManyConnections),
        Self::Rejected(RejectReason::FrameTimeout),
        Self::Rejected(RejectReason::UnfinishedBytes),
        Self::Rejected(RejectReason::TlsExpected),
        Self::Rejected(RejectReason::TlsUnexpected),
        Self::Rejected(RejectReason::TlsVersion),
        Self::Rejected(RejectReason::TlsHandshake),
        Self::Rejected(RejectReason::TlsRefused),
        Self::Rejected(RejectReason::TlsRecord),
        Self::Rejected(RejectReason::TlsBusy),
        Self::Rejected(RejectReason::CertificateMissing),
        Self::Rejected(RejectReason::CertificateUntrusted),
        Self::Rejected(RejectReason::CertificateExpired),
        Self::Rejected(RejectReason::CertificateRevoked),
        Self::Rejected(RejectReason::CertificateName),
        Self::Rejected(RejectReason::Unauthenticated),
        Self::Rejected(RejectReason::UnexpectedReply),
        Self::Closed,
        Self::ServerStopped,
        Self::WriteFailed,
        Self::WriteTimeout,
        Self::IdleTimeout,
        Self::ServiceFailed,
        Self::CallFailed,
        Self::Fault,
    ];

    /// What was refused, unless whoever refused it has said so already: a bad body is found by
    /// the session, maybe after the connection has ended.
    #[must_use]
    pub fn refused_by_connection(self) -> Option<RejectReason> {
        match self {
            Self::Rejected(RejectReason::BadBody) => None,
            Self::Rejected(reason) => Some(reason),
            _ => None,
        }
    }

    /// The label it is counted and reported under.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::PeerClosed => "peer_closed",
            Self::Reset => "reset",
            Self::Rejected(reason) => reason.label(),
            Self::Closed => "closed",
            Self::ServerStopped => "server_stopped",
            Self::WriteFailed => "write_failed",
            Self::WriteTimeout => "write_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::ServiceFailed => "service_failed",
            Self::CallFailed => "call_failed",
            Self::Fault => "fault",
        }
    }
}

/// How one connection ended: a kind for programs, a text for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseReason {
    /// What kind of ending it was.
    pub kind: CloseKind,
    /// What happened, with the number and the limit.
    pub text: String,
}

impl CloseReason {
    /// An ending of `kind` that `text` explains.
    #[must_use]
    pub fn new(kind: CloseKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }

    /// The ending by a panic, which nobody but us can do anything about.
    #[must_use]
    pub fn fault() -> Self {
        Self::new(
            CloseKind::Fault,
            "a fault of callmethod's; please report it",
        )
    }

    /// The ending by a peer that closed between two frames.
    #[must_use]
    pub fn peer_closed() -> Self {
        Self::new(CloseKind::PeerClosed, "the peer closed the connection")
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
