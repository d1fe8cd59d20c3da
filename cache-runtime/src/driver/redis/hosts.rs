//! What URLs that name several hosts have in common.

use std::net::Ipv6Addr;

/// The parts of a URL behind its scheme.
#[derive(Debug)]
pub(super) struct UrlParts<'a> {
    /// The credentials with the `@` behind them, if there are any.
    pub(super) credentials: &'a str,
    /// Each host, an IPv6 address in brackets, and its port. There is one at least.
    pub(super) hosts: Vec<(&'a str, u16)>,
    pub(super) path: &'a str,
    /// The parameters, with the `?` before them.
    pub(super) query: &'a str,
}

impl<'a> UrlParts<'a> {
    /// Takes apart what follows `scheme://`. The error says what is wrong.
    pub(super) fn read(rest: &'a str, default_port: u16) -> Result<Self, String> {
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (path, query) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
        if path.contains('@') {
            return Err("a `/` in a user's name or a password is written `%2F`".to_owned());
        }
        let end = authority.rfind('@').map_or(0, |at| at + 1);
        let (credentials, hosts) = authority.split_at(end);
        let hosts = hosts.split(',').map(|text| host(text.trim(), default_port));
        Ok(Self {
            credentials,
            hosts: hosts.collect::<Result<_, _>>()?,
            path,
            query,
        })
    }
}

/// A host without the brackets that a URL puts around an IPv6 address.
pub(super) fn without_brackets(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

fn host(text: &str, default_port: u16) -> Result<(&str, u16), String> {
    // An IPv6 address has colons of its own, in brackets.
    let end = text.rfind(']').map_or(0, |end| end + 1);
    let (host, port) = match text[end..].split_once(':') {
        Some((more, port)) => (&text[..end + more.len()], port.parse().ok()),
        None => (text, Some(default_port)),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let address = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let is_host = match address {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(is_name),
    };
    match port {
        Some(port) if is_host && port > 0 => Ok((host, port)),
        _ => Err(format!("`{text}` is no host with a port")),
    }
}
