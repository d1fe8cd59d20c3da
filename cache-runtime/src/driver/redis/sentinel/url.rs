//! The URL of a service that sentinels watch over.

use crate::driver::Tls;
use crate::driver::redis::address::{Address, Form};
use crate::driver::redis::hosts::{UrlParts, without_brackets};
use crate::error::Error;

/// Where a sentinel listens by default.
const PORT: u16 = 26379;

const FORM: Form = Form {
    encrypted: "rediss-sentinel://",
    parameters: &["sentinel_user", "sentinel_password", "sentinel_tls"],
    is_of_cluster: false,
};

const EXAMPLE: &str = "redis-sentinel://host1:26379,host2:26379,host3:26379/service/database";

/// What a URL says.
pub(super) struct Parsed {
    pub(super) sentinels: Vec<Address>,
    pub(super) service: String,
    /// The address of a primary, but for its host.
    pub(super) server: Address,
}

/// Whether a scheme is one of these URLs. Some write a plus sign.
pub(in super::super) fn is_scheme(scheme: &str) -> bool {
    is_encrypted(scheme).is_some()
}

fn is_encrypted(scheme: &str) -> Option<bool> {
    let server = scheme
        .strip_suffix("-sentinel")
        .or_else(|| scheme.strip_suffix("+sentinel"))?;
    match server {
        "redis" | "valkey" => Some(false),
        "rediss" | "valkeys" => Some(true),
        _ => None,
    }
}

pub(super) fn parse(url: &str, tls: &Tls) -> Result<Parsed, Error> {
    let (scheme, rest) = url
        .split_once("://")
        .ok_or_else(|| not_one("it has no `//`"))?;
    let is_encrypted = is_encrypted(scheme).unwrap_or_default();
    let UrlParts {
        credentials,
        hosts,
        path,
        query,
    } = UrlParts::read(rest, PORT).map_err(|why| not_one(&why))?;
    if query.contains('#') {
        return Err(not_one(
            "it has nothing behind a `#`: the service stands behind the hosts",
        ));
    }
    let (service, database) = service(path)?;
    let server_scheme = if is_encrypted { "rediss" } else { "redis" };
    let (first, _) = &hosts[0];
    let server = format!("{server_scheme}://{credentials}{first}/{database}{query}");
    let server = Address::parse_as(&server, &FORM, tls)?;
    let own = Own::read(query, is_encrypted)?;
    let base = if own.is_encrypted {
        server.clone()
    } else {
        server.clone().unencrypted()
    };
    let base = base.with_credentials(own.user.as_deref(), own.password.as_deref());
    let sentinels = hosts
        .iter()
        .map(|(host, port)| base.at(without_brackets(host), *port));
    Ok(Parsed {
        sentinels: sentinels.collect::<Result<_, _>>()?,
        service: service.to_owned(),
        server,
    })
}

/// The service and the database in a path.
fn service(path: &str) -> Result<(&str, &str), Error> {
    let path = path.trim_matches('/');
    let (service, database) = path.split_once('/').unwrap_or((path, ""));
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if service.is_empty() {
        return Err(not_one(
            "it names no service; `SENTINEL MASTERS` lists those that a sentinel knows",
        ));
    }
    if !service.chars().all(is_name) {
        return Err(not_one(
            "the name of a service has letters, digits, `.`, `-` and `_` only",
        ));
    }
    if !database.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(not_one(&format!("`{database}` is no number of a database")));
    }
    Ok((service, database))
}

/// What the parameters say of the sentinels.
struct Own {
    user: Option<String>,
    password: Option<String>,
    is_encrypted: bool,
}

impl Own {
    fn read(query: &str, is_encrypted: bool) -> Result<Self, Error> {
        let mut own = Self {
            user: None,
            password: None,
            is_encrypted,
        };
        let url = redis::parse_redis_url(&format!("redis://host{query}"));
        let pairs = url.iter().flat_map(|url| url.query_pairs());
        for (name, value) in pairs {
            let value = value.into_owned();
            match &*name {
                "sentinel_user" => own.user = Some(value),
                "sentinel_password" => own.password = Some(value),
                "sentinel_tls" => own.is_encrypted = is_yes(&value, is_encrypted)?,
                _ => {}
            }
        }
        if own.user.is_some() && own.password.is_none() {
            return Err(Error::config(
                "`sentinel_user` is a user with a password; write `sentinel_password` too",
            ));
        }
        Ok(own)
    }
}

/// Whether the sentinels speak TLS.
fn is_yes(value: &str, is_encrypted: bool) -> Result<bool, Error> {
    match value {
        "no" => Ok(false),
        "yes" if is_encrypted => Ok(true),
        "yes" => Err(Error::config(
            "`sentinel_tls=yes` is for a server with TLS; write `rediss-sentinel://`",
        )),
        _ => Err(Error::config(
            "`sentinel_tls` is `yes` or `no`; write `no` for sentinels without TLS",
        )),
    }
}

fn not_one(why: &str) -> Error {
    Error::config(format!("{why}; write `{EXAMPLE}`"))
}
