//! A service with limits by address, by user and by route, which tells its clients what is left to them.
//!
//! ```sh
//! cargo run --example rate_limit
//! curl -i localhost:3000/search/cache -H 'x-user: ada'
//! curl -i localhost:3000/exports/90 -H 'x-user: ada'
//! ```
//!
//! With `CACHE_URL=redis://…`, all processes count together.

mod layer;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, MatchedPath, Path};
use axum::http::request::Parts;
use axum::routing::get;
use cache_runtime::Cache;

use crate::layer::{Policy, RateLimitLayer};

const HOUR: Duration = Duration::from_hours(1);

/// The address of the connection. Behind a proxy, this is the proxy's: read there what the proxy writes, and
/// nothing that a client could have written.
fn address(parts: &Parts) -> Option<String> {
    let ConnectInfo(address) = parts.extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(address.ip().to_string())
}

/// In the place of a user who has logged in: what an authenticating proxy says.
fn user(parts: &Parts) -> Option<String> {
    let user = parts.headers.get("x-user")?.to_str().ok()?;
    Some(user.to_owned())
}

/// The route as the router has it: `/search/{text}`, and not `/search/cache`.
fn route(parts: &Parts) -> Option<String> {
    let path = parts.extensions.get::<MatchedPath>()?;
    Some(path.as_str().to_owned())
}

/// An export counts as one for each day.
fn days(parts: &Parts) -> u32 {
    let days = parts.uri.path().strip_prefix("/exports/");
    days.and_then(|days| days.parse().ok()).unwrap_or(1)
}

async fn search(Path(text): Path<String>) -> String {
    format!("nothing about {text}\n")
}

async fn export(Path(days): Path<u32>) -> String {
    format!("nothing in {days} days\n")
}

fn service(cache: &Cache) -> Router {
    let limits = RateLimitLayer::new([
        Policy::new(cache, "address", 100, HOUR, address),
        Policy::new(cache, "user", 20, HOUR, user).cost(days),
        Policy::new(cache, "route", 60, HOUR, route),
    ]);
    Router::new()
        .route("/search/{text}", get(search))
        .route("/exports/{days}", get(export))
        .layer(limits)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let service = service(&Cache::from_env()?);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("http://{}/search/cache", listener.local_addr()?);
    let service = service.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).await?;
    Ok(())
}
