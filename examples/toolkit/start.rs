//! The start of a service: it is not ready until its server is reached and the popular pages are loaded.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use cache_runtime::{Cache, cached, warm};
use futures_util::stream;
use tower::ServiceExt as _;

use super::{Done, Output};

/// How many pages are loaded before they are asked for.
const POPULAR: u64 = 100;

#[derive(Clone, Default)]
struct Readiness(Arc<AtomicBool>);

impl Readiness {
    fn is_given(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// What a balancer or an orchestrator asks before it sends requests here.
    fn route(&self) -> Router {
        let route = Router::new().route("/ready", get(probe));
        route.with_state(self.clone())
    }
}

async fn probe(State(Readiness(is_ready)): State<Readiness>) -> (StatusCode, &'static str) {
    if is_ready.load(Ordering::Acquire) {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    }
}

/// In the place of a slow query. One page is broken.
#[cached(key = "page:<number>", ttl = "10m", cache = cache, skip(cache))]
async fn page(cache: &Cache, number: u64) -> io::Result<String> {
    if number == 13 {
        return Err(io::Error::other("this page is broken"));
    }
    Ok(format!("page {number}"))
}

pub(crate) async fn start(cache: &Cache, output: &mut Output<impl Write>) -> Done {
    let readiness = Readiness::default();
    // A service serves it from the beginning.
    let service = readiness.route();
    output.line(format_args!("GET /ready: {}", ask(&service).await?))?;

    cache.connect(Duration::from_secs(10)).await?;
    output.line("connect: the cache can be read and written")?;
    // What an earlier run has left.
    cache.clear().await?;

    let loads = stream::iter((1..=POPULAR).map(|number| page(cache, number)));
    let mut drawn = Ok(());
    let warmed = warm(loads, 8).progress(|now| {
        if drawn.is_ok() {
            drawn = output.bar(now.done, POPULAR);
        }
    });
    let warmed = warmed.await;
    drawn?;
    output.line(format_args!(
        "warm: {} pages are loaded, {} failed",
        warmed.done - warmed.failed,
        warmed.failed
    ))?;

    readiness.is_given();
    output.line(format_args!("GET /ready: {}", ask(&service).await?))?;
    let hits = cache.stats().hits;
    page(cache, 7).await?;
    let hits = cache.stats().hits - hits;
    output.line(format_args!("the first request: {hits} hit"))?;
    Ok(())
}

async fn ask(service: &Router) -> Result<String, Box<dyn std::error::Error>> {
    let request = Request::get("/ready").body(Body::empty())?;
    let answer = service.clone().oneshot(request).await?;
    let status = answer.status();
    let body = to_bytes(answer.into_body(), 1_000).await?;
    Ok(format!(
        "{} {}",
        status.as_u16(),
        String::from_utf8_lossy(&body)
    ))
}
