//! What the environment says of a cache, for [`CacheBuilder::from_env`](super::CacheBuilder::from_env).

use std::time::Duration;

use crate::duration;
use crate::error::Error;

/// The variables that may be there for other programs too.
pub(super) const SHARED_VARIABLES: [&str; 2] = ["VALKEY_URL", "REDIS_URL"];

/// The variables of services with Upstash's HTTP interface: the URL and its token.
pub(super) const REST_VARIABLES: [[&str; 2]; 3] = [
    ["UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN"],
    ["KV_REST_API_URL", "KV_REST_API_TOKEN"],
    ["REDIS_REST_URL", "REDIS_REST_TOKEN"],
];

/// The URL that the environment has, and the variable that it is from.
pub(super) fn url_from(
    get: impl Fn(&str) -> Result<Option<String>, Error>,
) -> Result<Option<(&'static str, String)>, Error> {
    for name in ["CACHE_URL", "VALKEY_URL", "REDIS_URL"] {
        if let Some(url) = get(name)? {
            return Ok(Some((name, url)));
        }
    }
    for [name, token_name] in REST_VARIABLES {
        let (url, token) = match (get(name)?, get(token_name)?) {
            (None, None) => continue,
            (Some(url), Some(token)) => (url, token),
            (url, _) => {
                let (set, missing) = match url {
                    Some(_) => (name, token_name),
                    None => (token_name, name),
                };
                return Err(Error::config(format!(
                    "`{set}` is set, and `{missing}` is not; set both, or `CACHE_URL`"
                )));
            }
        };
        let Some(url) = rest_url(&url, &token) else {
            return Err(Error::config(format!(
                "`{name}` is no URL of Upstash's HTTP interface; write `https://host`"
            )));
        };
        return Ok(Some((name, url)));
    }
    Ok(None)
}

/// The URL and the token of an HTTP interface, as the URL of a cache.
fn rest_url(url: &str, token: &str) -> Option<String> {
    let (scheme, rest) = match url.split_once("://")? {
        ("https", rest) => ("upstash", rest),
        ("http", rest) => ("upstash+http", rest),
        _ => return None,
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let escaped = token.trim().bytes().map(|byte| match byte {
        byte if is_plain(byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    let escaped: String = escaped.collect();
    (!rest.contains('@')).then(|| format!("{scheme}://{escaped}@{}", rest.trim()))
}

/// A ttl: seconds, or a text with units.
pub(super) fn parse_ttl(text: &str) -> Result<Duration, &'static str> {
    match duration::parse(text)? {
        Duration::ZERO => Err("it must be longer than zero"),
        ttl => Ok(ttl),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(variables: &[(&str, &str)]) -> String {
        let url = url_from(|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            Ok(found.map(|(_, value)| (*value).to_owned()))
        });
        url.unwrap_err().to_string()
    }

    #[test]
    fn the_url_and_the_token_of_an_http_interface_become_one_url() {
        assert_eq!(
            rest_url("https://host/", "AX=@/ ").as_deref(),
            Some("upstash://AX%3D%40%2F@host/")
        );
        assert_eq!(
            rest_url("http://host:80", "a").as_deref(),
            Some("upstash+http://a@host:80")
        );
        for url in ["host", "redis://host", "https://user@host"] {
            assert_eq!(rest_url(url, "a"), None, "{url}");
        }
        for [url, token] in REST_VARIABLES {
            let error = error_of(&[(url, "redis://s3cret@host"), (token, "s3cret")]);
            assert!(error.starts_with(&format!("`{url}` is no URL")), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
            let error = error_of(&[(token, "s3cret")]);
            assert!(error.contains(&format!("and `{url}` is not")), "{error}");
        }
    }
}
