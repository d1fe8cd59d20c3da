//! What a running program tells of itself, by its dashboard.

use std::env;
use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::Failure;

const PATIENCE: Duration = Duration::from_secs(10);

/// The answer of one part of its API, such as `functions`.
pub(crate) fn ask(dashboard: &str, part: &str) -> Result<Value, Box<dyn Error>> {
    let url = url_of(dashboard, part)?;
    let mut config = Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .max_redirects(0)
        .tls_config(TlsConfig::builder().root_certs(system_roots()).build());
    if is_here(&url) {
        // A proxy that the environment names has another loopback.
        config = config.proxy(None);
    }
    let config = config.build();
    let mut request = Agent::from(config).get(&url);
    if let Some(credentials) = credentials() {
        request = request.header("Authorization", credentials);
    }
    let failed =
        |reason: &dyn std::fmt::Display| Failure(format!("the dashboard at {url}: {reason}"));
    let mut response = request.call().map_err(|error| failed(&error))?;
    let status = response.status();
    let body = response.body_mut().read_to_string();
    let body = body.map_err(|error| failed(&error))?;
    let answer = serde_json::from_str::<Value>(&body);
    match (status.as_u16(), answer) {
        (200, Ok(answer)) => Ok(answer),
        (200, Err(_)) => {
            Err(failed(&"its answer is no JSON; name the path where the dashboard is").into())
        }
        (401, _) => {
            let reason =
                "it wants credentials; set CACHECTL_TOKEN, or CACHECTL_USER to `name:password`";
            Err(failed(&reason).into())
        }
        (_, Ok(answer)) if answer["error"].is_string() => {
            let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
            Err(failed(&format!(
                "{status}: {}; {}",
                text("error"),
                text("how_to_mend")
            ))
            .into())
        }
        _ => Err(failed(&status).into()),
    }
}

/// Where a part of the API is.
fn url_of(dashboard: &str, part: &str) -> Result<String, Failure> {
    let Some((scheme @ ("http" | "https"), rest)) = dashboard.split_once("://") else {
        let reason = "a dashboard is at a URL such as http://127.0.0.1:3000/cache";
        return Err(Failure(reason.to_owned()));
    };
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        let reason = "credentials are not taken from the URL of a dashboard; set CACHECTL_USER to `name:password`";
        return Err(Failure(reason.to_owned()));
    }
    if rest.contains(['?', '#']) {
        let reason =
            "the URL of a dashboard ends with its path: leave out what begins with `?` or `#`";
        return Err(Failure(reason.to_owned()));
    }
    Ok(format!(
        "{scheme}://{}/api/{part}",
        rest.trim_end_matches('/')
    ))
}

/// Whether a URL is one of this machine.
fn is_here(url: &str) -> bool {
    let authority = url.split('/').nth(2).unwrap_or_default();
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host);
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    address.map_or(host == "localhost", |address| address.is_loopback())
}

/// The authorities that this system trusts, one of its company too.
fn system_roots() -> RootCerts {
    let found = rustls_native_certs::load_native_certs().certs;
    let owned = found.iter().map(|it| Certificate::from_der(it).to_owned());
    RootCerts::Specific(Arc::new(owned.collect()))
}

/// The credentials that the environment has, as HTTP carries them.
fn credentials() -> Option<String> {
    let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(token) = variable("CACHECTL_TOKEN") {
        return Some(format!("Bearer {token}"));
    }
    let user = variable("CACHECTL_USER")?;
    Some(format!("Basic {}", STANDARD.encode(user)))
}
