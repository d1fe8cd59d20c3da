//! Where a server is, and how it is spoken to, from a URL.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use redis::{ConnectionAddr, IntoConnectionInfo as _, ProtocolVersion, RedisConnectionInfo};

use crate::driver::is_elsewhere;
use crate::driver::tls::{Files, Tls, TlsClient};
use crate::error::Error;

/// The address of one server.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) place: Place,
    /// How to encrypt; `None` where the URL does not ask for it.
    pub(super) tls: Option<TlsClient>,
    settings: RedisConnectionInfo,
    /// For messages: without credentials.
    shown: Arc<str>,
    form: &'static Form,
    /// The environment variable that the URL is from, if other programs set it too.
    pub(super) shared_by: Option<&'static str>,
}

/// How the URL is written that an address is of.
#[derive(Debug)]
pub(super) struct Form {
    /// What a URL begins with whose connections are encrypted.
    pub(super) encrypted: &'static str,
    /// Parameters that such a URL may have, beside those of the URL of one server.
    pub(super) parameters: &'static [&'static str],
    /// Whether its servers are nodes of a cluster.
    pub(super) is_of_cluster: bool,
}

const OF_A_SERVER: Form = Form {
    encrypted: "rediss://",
    parameters: &[],
    is_of_cluster: false,
};

/// What the system connects to.
#[derive(Clone)]
pub(super) enum Place {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl Address {
    /// Reads a URL, and the files that it or `tls` names. Touches no network.
    pub(super) fn parse(url: &str, tls: &Tls) -> Result<Self, Error> {
        Self::parse_as(url, &OF_A_SERVER, tls)
    }

    /// Reads the URL of one server, that was written as another one.
    pub(super) fn parse_as(url: &str, form: &'static Form, tls: &Tls) -> Result<Self, Error> {
        let scheme = url.split(':').next().unwrap_or_default();
        let is_encrypted = matches!(scheme, "rediss" | "valkeys");
        let files = check_parameters(url, scheme, form)?;
        // redis-rs knows these schemes only with its own TLS, which is not used.
        let plain = if is_encrypted {
            Cow::Owned(format!("redis{}", &url[scheme.len()..]))
        } else {
            Cow::Borrowed(url)
        };
        let info = plain.as_ref().into_connection_info().map_err(|error| {
            Error::config(format!(
                "{error}; write `redis://host:port/database`, with `user:password@` before the \
                 host if need be, or `redis+unix:///path`"
            ))
        })?;
        let (place, shown) = match info.addr() {
            ConnectionAddr::Tcp(host, port) => {
                let (host, port) = (host.clone(), *port);
                let shown = shown_tcp(&host, port);
                (Place::Tcp { host, port }, shown)
            }
            ConnectionAddr::Unix(path) => (Place::Unix(path.clone()), info.addr().to_string()),
            other => {
                return Err(Error::config(format!(
                    "`{other}` is no address of a server"
                )));
            }
        };
        let tls = match &place {
            Place::Tcp { host, .. } if is_encrypted => Some(TlsClient::new(tls, files, host)?),
            _ => None,
        };
        Ok(Self {
            place,
            tls,
            settings: info.redis_settings().clone(),
            shown: shown.into(),
            form,
            shared_by: None,
        })
    }

    /// The address of another host: with the same credentials and database, and encrypted in the same
    /// way. Its certificate must be for that host, unless `Tls::server_name` names one for all hosts.
    pub(super) fn at(&self, host: &str, port: u16) -> Result<Self, Error> {
        let tls = self.tls.as_ref().map(|tls| tls.at(host)).transpose()?;
        Ok(Self {
            place: Place::Tcp {
                host: host.to_owned(),
                port,
            },
            tls,
            settings: self.settings.clone(),
            shown: shown_tcp(host, port).into(),
            form: self.form,
            shared_by: self.shared_by,
        })
    }

    /// Whether the server is a node of a cluster.
    pub(super) fn is_node(&self) -> bool {
        self.form.is_of_cluster
    }

    /// Whether the server is on another machine, and no password is sent to it. One with a client certificate
    /// knows who asks.
    pub(super) fn is_open(&self) -> bool {
        self.is_elsewhere() && !self.has_password() && self.tls.is_none()
    }

    /// Whether others may read what is sent there: it is not encrypted, and leaves this machine.
    pub(super) fn is_exposed(&self) -> bool {
        self.is_elsewhere() && self.tls.is_none()
    }

    pub(super) fn is_elsewhere(&self) -> bool {
        self.host().is_some_and(is_elsewhere)
    }

    pub(super) fn has_password(&self) -> bool {
        self.settings.password().is_some()
    }

    /// The host, unless it is a unix socket.
    pub(super) fn host(&self) -> Option<&str> {
        match &self.place {
            Place::Tcp { host, .. } => Some(host),
            Place::Unix(_) => None,
        }
    }

    /// The same address with other credentials, or none, and without a database.
    pub(super) fn with_credentials(mut self, user: Option<&str>, password: Option<&str>) -> Self {
        self.settings = RedisConnectionInfo::default();
        if let Some(user) = user {
            self.settings = self.settings.set_username(user);
        }
        if let Some(password) = password {
            self.settings = self.settings.set_password(password);
        }
        self
    }

    /// The same address, without TLS.
    pub(super) fn unencrypted(mut self) -> Self {
        self.tls = None;
        self
    }

    /// The same address, shown in another way.
    pub(super) fn shown_as(mut self, shown: impl Into<Arc<str>>) -> Self {
        self.shown = shown.into();
        self
    }

    /// What a URL begins with whose connections are encrypted.
    pub(super) fn encrypted_scheme(&self) -> &'static str {
        self.form.encrypted
    }

    /// For messages: without credentials.
    pub(super) fn shown(&self) -> &Arc<str> {
        &self.shown
    }

    /// The number of the database on the server.
    pub(super) fn database(&self) -> i64 {
        self.settings.db()
    }

    /// What is said to the server first, in this version of the protocol.
    pub(super) fn settings(&self, protocol: ProtocolVersion) -> RedisConnectionInfo {
        self.settings.clone().set_protocol(protocol)
    }
}

/// A host and a port as a URL has them: an IPv6 address in brackets.
fn shown_tcp(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// The files that a URL names. A parameter that is not known is an error: one that is misspelt would
/// leave its connection without what it asks for.
fn check_parameters(url: &str, scheme: &str, form: &Form) -> Result<Files, Error> {
    let known: &[&str] = match scheme {
        "rediss" | "valkeys" => &["ca", "cert", "key", "protocol"],
        "redis" | "valkey" => &["protocol"],
        _ => &["db", "user", "pass", "protocol"],
    };
    let mut files = Files::default();
    let Some(parsed) = redis::parse_redis_url(url) else {
        return Ok(files);
    };
    if known.contains(&"ca") && parsed.fragment().is_some() {
        return Err(Error::config(
            "a URL has nothing behind a `#`; to accept a server's certificate unchecked, in tests, \
             there is `Tls::insecure_accept_any_certificate`",
        ));
    }
    for (name, value) in parsed.query_pairs() {
        let file = match &*name {
            name if form.parameters.contains(&name) => continue,
            name if !known.contains(&name) => return Err(unknown(name, url, known, form)),
            "ca" => &mut files.ca,
            "cert" => &mut files.certificate,
            "key" => &mut files.key,
            _ => continue,
        };
        if value.is_empty() {
            return Err(Error::config(format!(
                "`{name}` is empty; write the path of a file: `?{name}=/path/to/{name}.pem`"
            )));
        }
        *file = Some(PathBuf::from(&*value));
    }
    Ok(files)
}

fn unknown(name: &str, url: &str, known: &[&str], form: &Form) -> Error {
    if matches!(name, "ca" | "cert" | "key") {
        return Error::config(format!(
            "`{name}` is for TLS, and this URL is for a connection that is not encrypted; write \
             `{}`",
            form.encrypted
        ));
    }
    // What follows a `?` may be the rest of a password.
    let is_password = url.rfind('@') > url.find('?');
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let name = if !is_password && name.chars().all(is_word) {
        format!("`{name}` is no parameter of this URL")
    } else {
        "what follows the `?` is no parameter of this URL".to_owned()
    };
    let known = known.iter().chain(form.parameters);
    let known: Vec<String> = known.map(|name| format!("`{name}`")).collect();
    Error::config(format!("{name}; it may have {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> String {
        match Address::parse(url, &Tls::default()) {
            Ok(_) => panic!("{url} is accepted"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn an_address_is_shown_without_its_credentials() {
        let shown = |url| {
            let address = Address::parse(url, &Tls::default()).unwrap();
            address.shown().to_string()
        };
        assert_eq!(shown("redis://ann:secret@host/3"), "host:6379");
        assert_eq!(shown("valkey://host:1?protocol=resp2"), "host:1");
        assert_eq!(shown("redis+unix:///tmp/s?pass=secret"), "/tmp/s");
        assert_eq!(shown("redis://[::1]:7000"), "[::1]:7000");
    }

    #[test]
    fn the_address_of_another_host_keeps_what_is_said_to_it() {
        let first = Address::parse("redis://ann:secret@first/3", &Tls::default()).unwrap();
        let second = first.at("second", 7001).unwrap();
        assert_eq!(&**second.shown(), "second:7001");
        assert_eq!(second.database(), 3);
        let settings = second.settings(ProtocolVersion::RESP3);
        assert_eq!(settings.username(), Some("ann"));
        assert_eq!(settings.password(), Some("secret"));
        assert!(second.tls.is_none());
        assert_eq!(&**first.at("::1", 7001).unwrap().shown(), "[::1]:7001");
    }

    #[cfg(feature = "__tls")]
    #[test]
    fn the_address_of_another_host_is_encrypted_for_that_host() {
        let name = |url: &str, tls: &Tls, host| {
            let address = Address::parse(url, tls).unwrap().at(host, 7001).unwrap();
            address.tls.unwrap().name()
        };
        let tls = Tls::new();
        assert_eq!(name("rediss://first", &tls, "second"), "second");
        assert_eq!(name("rediss://first", &tls, "127.0.0.1"), "127.0.0.1");
        let named = Tls::new().server_name("all");
        assert_eq!(name("rediss://first", &named, "second"), "all");
        let address = Address::parse("rediss://first", &tls).unwrap();
        assert!(address.at("no name", 1).is_err());
    }

    #[test]
    fn a_parameter_that_is_not_known_is_refused() {
        let error = refusal("redis://host?timeout=5");
        assert!(error.contains("`timeout` is no parameter"), "{error}");
        let error = refusal("rediss://host?cacert=/ca.pem");
        assert!(error.contains("it may have `ca`, `cert`, `key`"), "{error}");
        let error = refusal("redis://host?ca=/ca.pem");
        assert!(error.contains("write `rediss://`"), "{error}");
        let error = refusal("redis+unix:///tmp/s?password=x");
        assert!(error.contains("`db`, `user`, `pass`"), "{error}");
        let error = refusal("rediss://host?ca=");
        assert!(error.contains("`ca` is empty"), "{error}");
        let error = refusal("rediss://host#insecure");
        assert!(error.contains("insecure_accept_any"), "{error}");
    }

    #[test]
    fn a_parameter_that_may_be_a_password_is_not_shown() {
        let error = refusal("redis://ann:12?secret=more@host");
        assert!(!error.contains("secret"), "{error}");
    }
}
