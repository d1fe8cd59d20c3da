//! What went wrong with TLS, and how to mend it.

use std::io;

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error as TlsError};

use super::config::Described;
use crate::error::Error;

/// What an error of TLS means.
pub(super) fn tls(address: &str, error: &TlsError, described: &Described, plain: &str) -> Error {
    let reason = match error {
        TlsError::InvalidCertificate(error) => certificate(error, described),
        TlsError::InvalidMessage(_)
        | TlsError::InappropriateMessage { .. }
        | TlsError::InappropriateHandshakeMessage { .. } => format!(
            "it does not speak TLS on this port; write the port on which it does, or `{plain}` for a \
             connection that is not encrypted"
        ),
        TlsError::PeerIncompatible(_)
        | TlsError::AlertReceived(AlertDescription::ProtocolVersion) => {
            format!(
                "it has no version of TLS, or no cipher, in common with this program, which speaks TLS \
                 1.2 and 1.3 ({error}); allow one of them on the server"
            )
        }
        TlsError::AlertReceived(alert) => return alerted(address, *alert, described),
        error => format!("TLS failed: {error}"),
    };
    Error::unavailable(address, &reason)
}

/// What an error of the connection means while both sides agree on an encryption.
pub(super) fn handshake(address: &str, error: &io::Error, plain: &str) -> Error {
    let reason = format!(
        "it hung up where TLS begins ({error}); if it does not speak TLS on this port, write the port \
         on which it does, or `{plain}` for a connection that is not encrypted"
    );
    Error::unavailable(address, &reason)
}

/// What the server says is wrong with this side.
fn alerted(address: &str, alert: AlertDescription, described: &Described) -> Error {
    use AlertDescription as Alert;
    let has_certificate = described.has_client_certificate;
    let name_one = "name the files of one by `?cert=/path/to/cert.pem&key=/path/to/key.pem` in the \
                    URL, or by `Tls::client_files`";
    let reason = match alert {
        Alert::CertificateRequired | Alert::NoCertificate => {
            format!("it requires a client certificate; {name_one}")
        }
        Alert::HandshakeFailure if !has_certificate => format!(
            "it ended the TLS handshake ({alert:?}); if it requires a client certificate, {name_one}"
        ),
        Alert::CertificateExpired => {
            "the client certificate has expired, it says; put a new one into the same files".to_owned()
        }
        Alert::UnknownCA => "it does not trust the authority that signed the client certificate; use \
                             one that its `tls-ca-cert-file` has signed"
            .to_owned(),
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateUnknown
        | Alert::AccessDenied
        | Alert::DecryptError
            if has_certificate =>
        {
            format!("it does not accept the client certificate ({alert:?}); use another one")
        }
        Alert::UnrecognisedName => {
            "it has no certificate for the host of the URL; connect by a name that it has one for, or \
             set that name by `Tls::server_name`"
                .to_owned()
        }
        alert => {
            let reason = format!("it ended the TLS connection: {alert:?}");
            return Error::unavailable(address, &reason);
        }
    };
    Error::denied(address, &reason)
}

/// What is wrong with the server's certificate.
fn certificate(error: &CertificateError, described: &Described) -> String {
    let by_its_name = "connect by a name that it has, or set that name by `Tls::server_name`";
    match error {
        // The second: an authority of that name is trusted, and it is another one.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "its certificate is not signed by an authority that is trusted here ({}); name the \
             authority that signed it by `?ca=/path/to/ca.pem` in the URL, or by `Tls::ca_file`",
            described.trusted
        ),
        CertificateError::Expired => {
            "its certificate has expired; give the server a new one".to_owned()
        }
        CertificateError::ExpiredContext { time, not_after } => {
            let since = time.as_secs().saturating_sub(not_after.as_secs());
            format!(
                "its certificate has expired, {} ago by the clock of this machine; give the server a \
                 new one",
                about(since)
            )
        }
        CertificateError::NotValidYet => {
            "its certificate is not valid yet; check the clock of this machine".to_owned()
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            let until = not_before.as_secs().saturating_sub(time.as_secs());
            format!(
                "its certificate becomes valid in {} by the clock of this machine; check that clock",
                about(until)
            )
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            let names: Vec<String> = presented.iter().map(|name| shown(name)).collect();
            let mismatch = match names.as_slice() {
                [] => format!(
                    "its certificate names no host, so it is not for `{expected}` either (a common name \
                     does not count, a `subjectAltName` does)"
                ),
                names => {
                    let names = names.join(", ");
                    format!("its certificate is for {names}, and not for `{expected}`")
                }
            };
            format!("{mismatch}; {by_its_name}")
        }
        CertificateError::NotValidForName => {
            format!("its certificate is for another host; {by_its_name}")
        }
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "its certificate is that of an authority (`CA:TRUE`), which a server's must not be; sign \
             another one for the server with it"
                .to_owned()
        }
        error => format!("its certificate is not accepted: {error}; give the server another one"),
    }
}

/// A name in a certificate: `DnsName("cache.example.com")`.
fn shown(name: &str) -> String {
    let inner = name
        .split_once("(\"")
        .and_then(|(_, rest)| rest.strip_suffix("\")"));
    format!("`{}`", inner.unwrap_or(name))
}

fn about(seconds: u64) -> String {
    let units = [(86_400, "days"), (3_600, "hours"), (60, "minutes")];
    let unit = units.into_iter().find(|(length, _)| seconds >= 2 * length);
    let (length, name) = unit.unwrap_or((1, "seconds"));
    format!("{} {name}", seconds / length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_the_unit_that_fits() {
        for (seconds, text) in [
            (0, "0 seconds"),
            (119, "119 seconds"),
            (120, "2 minutes"),
            (7_200, "2 hours"),
            (259_300, "3 days"),
        ] {
            assert_eq!(about(seconds), text);
        }
    }

    #[test]
    fn each_alert_about_a_client_certificate_has_a_meaning() {
        use AlertDescription as Alert;
        let meaning = |alert, has_client_certificate| {
            let described = Described {
                trusted: "what the system trusts".to_owned(),
                has_client_certificate,
            };
            let error = TlsError::AlertReceived(alert);
            tls("server:1", &error, &described, "redis://")
        };
        for (alert, has_certificate, text) in [
            (
                Alert::CertificateRequired,
                false,
                "requires a client certificate; name",
            ),
            (
                Alert::HandshakeFailure,
                false,
                "if it requires a client certificate, name",
            ),
            (
                Alert::CertificateExpired,
                true,
                "the client certificate has expired",
            ),
            (Alert::UnknownCA, true, "does not trust the authority"),
            (
                Alert::BadCertificate,
                true,
                "does not accept the client certificate",
            ),
        ] {
            let error = meaning(alert, has_certificate);
            assert!(error.is_refused(), "{error}");
            assert!(error.to_string().contains(text), "{error}");
        }
        let error = meaning(Alert::InternalError, true);
        assert!(error.is_unavailable(), "{error}");
        let error = meaning(Alert::ProtocolVersion, true);
        assert!(error.to_string().contains("allow one of them"), "{error}");
    }
}
