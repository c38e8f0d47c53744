//! What is wrong with a peer by TLS: under which reason it is counted, and what is said of it.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

use crate::call::{CloseKind, CloseReason, RejectReason};

pub(super) fn rejected(reason: RejectReason, text: String) -> CloseReason {
    CloseReason::new(CloseKind::Rejected(reason), text)
}

/// Why TLS ended a connection after the handshake; `None` when it was not TLS.
///
/// With TLS 1.3 a client learns only then that its certificate is refused.
pub(in crate::net) fn of_connection(error: &io::Error) -> Option<CloseReason> {
    match error.get_ref()?.downcast_ref()? {
        Error::AlertReceived(alert) => Some(alerted(*alert)),
        other => {
            let text = format!("the peer sent what TLS does not allow: {other}");
            Some(rejected(RejectReason::TlsRecord, text))
        }
    }
}

/// Why a handshake failed.
pub(super) fn refused(error: &Error) -> CloseReason {
    let reason = match error {
        Error::NoCertificatesPresented => RejectReason::CertificateMissing,
        Error::InvalidCertificate(error) => of_certificate(error),
        // Clients of TLS 1.1 and before do not send signature algorithms, and others do.
        Error::AlertReceived(AlertDescription::ProtocolVersion)
        | Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired,
        ) => RejectReason::TlsVersion,
        Error::AlertReceived(alert) => return alerted(*alert),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => RejectReason::TlsExpected,
        _ => RejectReason::TlsHandshake,
    };
    let text = match reason {
        RejectReason::CertificateMissing => "the client showed no certificate".to_owned(),
        RejectReason::TlsExpected => "what came is no TLS; the peer may not speak it".to_owned(),
        RejectReason::TlsVersion => format!("TLS 1.2 and 1.3 are spoken here: {error}"),
        _ => format!("TLS handshake failed: {error}"),
    };
    rejected(reason, text)
}

fn of_certificate(error: &CertificateError) -> RejectReason {
    match error {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => RejectReason::CertificateExpired,
        CertificateError::Revoked
        | CertificateError::UnknownRevocationStatus
        | CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => RejectReason::CertificateRevoked,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            RejectReason::CertificateName
        }
        _ => RejectReason::CertificateUntrusted,
    }
}

/// The peer refused us, and said why by an alert.
fn alerted(alert: AlertDescription) -> CloseReason {
    let hint = match alert {
        AlertDescription::CertificateRequired => ": it wants a certificate, and none was given",
        AlertDescription::UnknownCA => ": it does not trust who signed our certificate",
        AlertDescription::CertificateExpired => ": our certificate has expired",
        AlertDescription::CertificateRevoked => ": our certificate is revoked",
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied => ": it does not accept our certificate",
        _ => "",
    };
    let text = format!("the peer refused the connection by a TLS alert, {alert:?}{hint}");
    rejected(RejectReason::TlsRefused, text)
}
