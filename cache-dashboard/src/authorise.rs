//! Which requests the dashboard answers.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ConnectInfo;
use axum::http::header::{AUTHORIZATION, FORWARDED, HOST};
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What an [`Authorise`] makes of a request.
///
/// ```
/// use cache_dashboard::Verdict;
///
/// let verdict = Verdict::deny("ask the team that runs this service for a token");
/// assert!(!verdict.is_allowed());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Allowed,
    /// The request has no credentials, or wrong ones.
    Challenged {
        scheme: &'static str,
    },
    Denied {
        how_to_mend: String,
    },
}

impl Verdict {
    /// The request is answered.
    ///
    /// ```
    /// assert!(cache_dashboard::Verdict::allow().is_allowed());
    /// ```
    #[must_use]
    pub fn allow() -> Self {
        Self(Kind::Allowed)
    }

    /// The request is refused with the status 403. `how_to_mend` is sent to the client.
    ///
    /// ```
    /// assert!(!cache_dashboard::Verdict::deny("sign in first").is_allowed());
    /// ```
    #[must_use]
    pub fn deny(how_to_mend: impl Into<String>) -> Self {
        Self(Kind::Denied {
            how_to_mend: how_to_mend.into(),
        })
    }

    /// The request is refused with the status 401, and `WWW-Authenticate` names this scheme: of
    /// `Basic`, a browser asks for a name and a password.
    ///
    /// ```
    /// assert!(!cache_dashboard::Verdict::challenge("Basic").is_allowed());
    /// ```
    #[must_use]
    pub fn challenge(scheme: &'static str) -> Self {
        Self(Kind::Challenged { scheme })
    }

    /// Whether the request is answered.
    ///
    /// ```
    /// assert!(cache_dashboard::Verdict::from(true).is_allowed());
    /// ```
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.0 == Kind::Allowed
    }

    /// The scheme of credentials that the client is asked for.
    pub(crate) fn scheme(&self) -> Option<&'static str> {
        match &self.0 {
            Kind::Challenged { scheme } => Some(scheme),
            Kind::Allowed | Kind::Denied { .. } => None,
        }
    }

    pub(crate) fn how_to_mend(&self) -> &str {
        match &self.0 {
            Kind::Allowed => "",
            Kind::Challenged { .. } => {
                "send the credentials that the dashboard was made with; without them it shows nothing"
            }
            Kind::Denied { how_to_mend } => how_to_mend,
        }
    }
}

impl From<bool> for Verdict {
    fn from(is_allowed: bool) -> Self {
        if is_allowed {
            Self::allow()
        } else {
            Self::deny("sign in to the program that serves this dashboard, as it asks for")
        }
    }
}

/// Decides which requests the dashboard answers. It is asked before anything else is done, for the
/// page and its assets too.
///
/// A closure that returns a `bool` or a [`Verdict`] is one:
///
/// ```
/// use axum::http::request::Parts;
/// use cache_dashboard::Dashboard;
/// # use cache_runtime::Cache;
///
/// # let cache = Cache::builder().url("memory:").build()?;
/// // A layer of the program has put the session there.
/// struct Session { is_admin: bool }
///
/// let dashboard = Dashboard::new(cache, |request: &Parts| {
///     request.extensions.get::<Session>().is_some_and(|session| session.is_admin)
/// });
/// # let _ = dashboard;
/// # Ok::<_, cache_runtime::Error>(())
/// ```
pub trait Authorise: Send + Sync + 'static {
    /// Says whether a request with this head is answered. It is to return soon: it runs on the
    /// runtime's thread.
    fn authorise(&self, request: &Parts) -> Verdict;
}

impl<F, V> Authorise for F
where
    F: Fn(&Parts) -> V + Send + Sync + 'static,
    V: Into<Verdict>,
{
    fn authorise(&self, request: &Parts) -> Verdict {
        self(request).into()
    }
}

/// Answers requests with this name and password (`Authorization: Basic`). A browser asks for them.
///
/// They are compared in a time that does not depend on where they differ. Serve the dashboard over
/// TLS: the password is sent with each request as it is.
///
/// # Panics
///
/// If the password is empty, or the name contains a colon, which the scheme cannot express.
///
/// ```
/// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
/// use cache_dashboard::{Dashboard, basic_auth};
///
/// let password = std::env::var("DASHBOARD_PASSWORD").unwrap_or("only for this example".into());
/// let dashboard = Dashboard::new(cache, basic_auth("ops", &password));
/// # let _ = dashboard;
/// # Ok::<_, cache_runtime::Error>(())
/// ```
pub fn basic_auth(name: &str, password: &str) -> impl Authorise + use<> {
    assert!(!password.is_empty(), "the dashboard's password is empty");
    assert!(
        !name.contains(':'),
        "the name of basic authentication contains a colon"
    );
    let expected: Arc<[u8]> = STANDARD
        .encode(format!("{name}:{password}"))
        .into_bytes()
        .into();
    move |request: &Parts| credentials(request, "Basic", &expected)
}

/// Answers requests with this token (`Authorization: Bearer`): for a client of the JSON API, or
/// behind a proxy that adds the header. A browser does not send one by itself.
///
/// The token is compared in a time that does not depend on where it differs.
///
/// # Panics
///
/// If the token is empty.
///
/// ```
/// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
/// use cache_dashboard::{Dashboard, bearer};
///
/// let dashboard = Dashboard::new(cache, bearer("a long, random token"));
/// # let _ = dashboard;
/// # Ok::<_, cache_runtime::Error>(())
/// ```
pub fn bearer(token: &str) -> impl Authorise + use<> {
    assert!(!token.is_empty(), "the dashboard's token is empty");
    let expected: Arc<[u8]> = token.as_bytes().into();
    move |request: &Parts| credentials(request, "Bearer", &expected)
}

/// Answers requests that come from this machine itself, for development.
///
/// A request must come from a loopback address, must not have come through a proxy, and must name
/// the machine by `localhost` or a loopback address: so a page of another site cannot reach the
/// dashboard under a name of its own that leads here. Every user of the machine is let in.
///
/// Where a request came from is known only if the program serves with
/// `into_make_service_with_connect_info::<SocketAddr>()`. Without it, every request is refused.
///
/// ```
/// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
/// use cache_dashboard::{Dashboard, loopback_only};
///
/// let dashboard = Dashboard::new(cache, loopback_only());
/// # let _ = dashboard;
/// # Ok::<_, cache_runtime::Error>(())
/// ```
pub fn loopback_only() -> impl Authorise {
    |request: &Parts| {
        let Some(ConnectInfo(peer)) = request.extensions.get::<ConnectInfo<SocketAddr>>() else {
            return Verdict::deny(
                "where the request came from is not known; serve the router with \
                 `into_make_service_with_connect_info::<SocketAddr>()`",
            );
        };
        let is_forwarded = request.headers.contains_key(FORWARDED)
            || request.headers.contains_key("x-forwarded-for")
            || request.headers.contains_key("x-real-ip");
        if peer.ip().to_canonical().is_loopback() && !is_forwarded && names_loopback(request) {
            Verdict::allow()
        } else {
            Verdict::deny(
                "this dashboard answers only requests from its own machine, to `localhost`; make it \
                 with `basic_auth`, `bearer` or a function to open it to others",
            )
        }
    }
}

/// Answers every request. Only for a dashboard that something else protects, such as a listener
/// that only an operator's machine reaches.
///
/// ```
/// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
/// use cache_dashboard::{Dashboard, Open};
///
/// let dashboard = Dashboard::new(cache, Open);
/// # let _ = dashboard;
/// # Ok::<_, cache_runtime::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Open;

impl Authorise for Open {
    fn authorise(&self, _request: &Parts) -> Verdict {
        Verdict::allow()
    }
}

fn credentials(request: &Parts, scheme: &'static str, expected: &[u8]) -> Verdict {
    let given = request.headers.get(AUTHORIZATION).and_then(|header| {
        let (of, given) = header.as_bytes().split_at_checked(scheme.len())?;
        let given = given.strip_prefix(b" ")?;
        of.eq_ignore_ascii_case(scheme.as_bytes()).then_some(given)
    });
    match given {
        Some(given) if is_same(given.trim_ascii(), expected) => Verdict::allow(),
        _ => Verdict::challenge(scheme),
    }
}

/// Whether two secrets are the same. How long it takes depends on the length of what was given, and
/// on nothing else.
fn is_same(given: &[u8], expected: &[u8]) -> bool {
    let mut difference = given.len() ^ expected.len();
    for (at, byte) in given.iter().enumerate() {
        let other = expected.get(at % expected.len().max(1)).unwrap_or(&0);
        difference |= usize::from(std::hint::black_box(byte ^ other));
    }
    std::hint::black_box(difference) == 0
}

fn names_loopback(request: &Parts) -> bool {
    let host = match request.uri.host() {
        Some(host) => host,
        None => match request.headers.get(HOST).map(|host| host.to_str()) {
            Some(Ok(host)) => without_port(host),
            _ => return false,
        },
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = |address: &str| {
        address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
    };
    host.eq_ignore_ascii_case("localhost") || is_loopback(address)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|it| it.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&'static str, &str)]) -> Parts {
        let mut request = axum::http::Request::new(());
        for (name, value) in headers {
            request
                .headers_mut()
                .insert(*name, value.parse().expect("a header's value"));
        }
        request.into_parts().0
    }

    #[test]
    fn only_the_same_secret_is_the_same() {
        assert!(is_same(b"secret", b"secret"));
        for other in [&b""[..], b"secre", b"secretsecret", b"secreT", b"Secret"] {
            assert!(!is_same(other, b"secret"), "{other:?}");
        }
        assert!(!is_same(b"", b"x") && !is_same(b"x", b""));
    }

    #[test]
    fn credentials_are_those_of_the_scheme() {
        let is_allowed = |auth: &dyn Authorise, header: Option<&str>| {
            let headers = header.map(|header| ("authorization", header));
            let verdict = auth.authorise(&request(&headers.into_iter().collect::<Vec<_>>()));
            assert_eq!(verdict.is_allowed(), verdict.scheme().is_none());
            verdict.is_allowed()
        };
        let basic = basic_auth("ops", "pass:word");
        assert!(is_allowed(&basic, Some("Basic b3BzOnBhc3M6d29yZA==")));
        assert!(is_allowed(&basic, Some("basic b3BzOnBhc3M6d29yZA==")));
        for wrong in [
            None,
            Some("Basic b3BzOndvcmQ="),
            Some("Bearer b3BzOnBhc3M6d29yZA=="),
            Some("Basic"),
            Some(""),
        ] {
            assert!(!is_allowed(&basic, wrong), "{wrong:?}");
        }
        let token = bearer("t0ken");
        assert!(is_allowed(&token, Some("Bearer t0ken")));
        assert!(!is_allowed(&token, Some("Bearer t0ke")));
        assert!(!is_allowed(&token, Some("Basic t0ken")));
    }

    #[test]
    fn only_this_machine_reaches_a_dashboard_of_loopback() {
        let verdict = |peer: Option<&str>, headers: &[(&'static str, &str)]| {
            let mut request = request(headers);
            if let Some(peer) = peer {
                let peer: SocketAddr = peer.parse().expect("an address");
                request.extensions.insert(ConnectInfo(peer));
            }
            loopback_only().authorise(&request).is_allowed()
        };
        let here = Some("127.0.0.1:4000");
        assert!(verdict(here, &[("host", "localhost:3000")]));
        assert!(verdict(here, &[("host", "127.0.0.1")]));
        assert!(verdict(Some("[::1]:4000"), &[("host", "[::1]:3000")]));
        assert!(verdict(
            Some("[::ffff:127.0.0.1]:4000"),
            &[("host", "localhost")]
        ));
        assert!(!verdict(None, &[("host", "localhost")]), "not known");
        assert!(!verdict(Some("10.0.0.7:4000"), &[("host", "localhost")]));
        assert!(!verdict(here, &[("host", "rebound.example")]), "rebinding");
        assert!(!verdict(here, &[]), "no host");
        let proxied = [("host", "localhost"), ("x-forwarded-for", "10.0.0.7")];
        assert!(!verdict(here, &proxied), "a proxy");
    }
}
