//! Where the database is: what a URL says.

use std::path::PathBuf;
use std::sync::Arc;

use hyper::header::HeaderValue;

use crate::driver::Tls;
use crate::driver::tls::{Files, TlsClient};
use crate::error::Error;

/// With what a URL without TLS begins.
pub(super) const PLAIN: &str = "upstash+http://";

pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    /// How to encrypt; `None` for a connection that is not encrypted.
    pub(super) tls: Option<TlsClient>,
    /// The host, and the port unless it is the usual one, as HTTP names them.
    pub(super) authority: HeaderValue,
    pub(super) path: String,
    /// The token, as HTTP carries it.
    pub(super) bearer: HeaderValue,
    token: String,
    /// For messages: without the token.
    shown: Arc<str>,
}

impl Address {
    /// Reads a URL, and the files that it or `tls` names. Touches no network.
    pub(super) fn parse(url: &str, tls: &Tls) -> Result<Self, Error> {
        let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
        let is_encrypted = scheme == "upstash";
        // redis-rs reads URLs of its own schemes only, and reads them as the standard says.
        let parsed = redis::parse_redis_url(&format!("redis:{rest}"));
        let parsed = parsed.filter(|parsed| rest.starts_with("//") && parsed.fragment().is_none());
        let host = parsed.as_ref().and_then(|parsed| parsed.host_str());
        let (Some(parsed), Some(host)) = (&parsed, host) else {
            return Err(Error::config(format!(
                "it is no URL of Upstash's HTTP interface; write `{scheme}://token@host`"
            )));
        };
        let token = match parsed.password() {
            Some(password) => unescape(password),
            None => unescape(parsed.username()),
        };
        let token = token.filter(|token| !token.is_empty());
        let bearer = token.as_ref().and_then(|token| {
            let mut bearer = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
            bearer.set_sensitive(true);
            Some(bearer)
        });
        let (Some(token), Some(bearer)) = (token, bearer) else {
            return Err(Error::config(format!(
                "it has no token, or one that is none; write the token of the HTTP interface before \
                 the host: `{scheme}://token@host`"
            )));
        };
        let mut files = Files::default();
        for (name, value) in parsed.query_pairs() {
            let file = match &*name {
                "ca" if is_encrypted => &mut files.ca,
                "cert" if is_encrypted => &mut files.certificate,
                "key" if is_encrypted => &mut files.key,
                // What follows a `?` may be the rest of a token: it is not shown.
                _ if is_encrypted => {
                    return Err(Error::config(
                        "what follows the `?` is no parameter of this URL; it may have `ca`, `cert`, \
                         `key`",
                    ));
                }
                _ => return Err(Error::config("this URL has no parameters")),
            };
            *file = Some(PathBuf::from(&*value));
        }
        let usual_port = if is_encrypted { 443 } else { 80 };
        let port = parsed.port().unwrap_or(usual_port);
        let authority = if port == usual_port {
            host.to_owned()
        } else {
            format!("{host}:{port}")
        };
        let shown = format!("{host}:{port}").into();
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let tls = if is_encrypted {
            Some(TlsClient::new(tls, files, &host)?.instead_of(PLAIN))
        } else {
            None
        };
        let not_a_host = |_| Error::config("the host of this URL is none");
        Ok(Self {
            authority: HeaderValue::try_from(authority).map_err(not_a_host)?,
            path: format!("{}/pipeline", parsed.path().trim_end_matches('/')),
            host,
            port,
            tls,
            bearer,
            token,
            shown,
        })
    }

    /// For messages: without the token.
    pub(super) fn shown(&self) -> &Arc<str> {
        &self.shown
    }

    /// What a server said, as it may be shown: it may have said the token.
    pub(super) fn without_token(&self, text: &str) -> String {
        text.replace(&self.token, "…")
    }
}

/// A part of a URL without its percent signs.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Address {
        Address::parse(url, &Tls::default()).unwrap()
    }

    fn refusal(url: &str) -> String {
        match Address::parse(url, &Tls::default()) {
            Ok(_) => panic!("{url} is accepted"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_url_names_the_host_and_the_token() {
        for url in [
            "upstash+http://s3cret=@host",
            "upstash+http://s3cret%3D@host/",
            "upstash+http://:s3cret=@host",
            "upstash+http://default:s3cret%3D@host",
        ] {
            let address = parse(url);
            assert_eq!(address.bearer, "Bearer s3cret=", "{url}");
            assert_eq!((&*address.host, address.port), ("host", 80), "{url}");
            assert_eq!(address.authority, "host", "{url}");
            assert_eq!(address.path, "/pipeline", "{url}");
            assert!(address.tls.is_none());
            assert_eq!(&**address.shown(), "host:80");
        }
        let address = parse("upstash://s3cret@[::1]:7000/a/b/");
        assert_eq!((&*address.host, address.port), ("::1", 7000));
        assert_eq!(address.authority, "[::1]:7000");
        assert_eq!(address.path, "/a/b/pipeline");
        assert!(address.tls.is_some());
        assert_eq!(parse("upstash://s3cret@host").port, 443);
    }

    #[test]
    fn a_url_that_is_none_is_refused_without_its_token() {
        for (url, part) in [
            ("upstash://host", "it has no token"),
            ("upstash://s3cret%@host", "it has no token"),
            ("upstash://s3cret%0A@host", "it has no token"),
            ("upstash:s3cret@host", "`upstash://token@host`"),
            ("upstash://s3cret@host#x", "`upstash://token@host`"),
            ("upstash://s3cret@host?timeout=1", "it may have `ca`"),
            ("upstash+http://s3cret@host?ca=/x", "no parameters"),
        ] {
            let error = refusal(url);
            assert!(error.contains(part), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn what_a_server_says_is_shown_without_the_token() {
        let address = parse("upstash+http://s3cret@host");
        assert_eq!(
            address.without_token("Bearer s3cret is wrong"),
            "Bearer … is wrong"
        );
    }
}
