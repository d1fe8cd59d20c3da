//! The cache's metrics for Prometheus, and a dashboard of them for Grafana.
//!
//! ```sh
//! cargo run --example prometheus
//! curl localhost:3000/countries/FR
//! curl localhost:3000/metrics
//! ```
//!
//! `dashboard.json` is imported into Grafana, over a Prometheus that reads `localhost:3000/metrics`.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use cache_runtime::{Cache, cached};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

struct Countries {
    cache: Cache,
    metrics: PrometheusHandle,
}

impl Countries {
    /// In the place of a database: it takes its time.
    #[cached(key = "country:<code>", ttl = "1m", cache = self.cache, skip(self))]
    async fn name(&self, code: &str) -> Result<String, StatusCode> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let country = rust_iso3166::from_alpha2(code).ok_or(StatusCode::NOT_FOUND)?;
        Ok(country.name.to_owned())
    }
}

/// The recorder of the whole program: of the cache's metrics, and of any others.
fn record() -> Result<PrometheusHandle, BuildError> {
    // Without buckets, Prometheus gets quantiles, which cannot be added up over processes.
    let seconds = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
    let load_seconds = Matcher::Full("cache_load_seconds".to_owned());
    PrometheusBuilder::new()
        .set_buckets_for_metric(load_seconds, &seconds)?
        .install_recorder()
}

async fn country(
    State(countries): State<Arc<Countries>>,
    Path(code): Path<String>,
) -> Result<String, StatusCode> {
    countries.name(&code).await
}

async fn metrics(State(countries): State<Arc<Countries>>) -> String {
    // So that what is read is what was counted until now, and not up to five seconds ago.
    countries.cache.publish_metrics();
    countries.metrics.run_upkeep();
    countries.metrics.render()
}

fn service(cache: Cache, metrics_of: PrometheusHandle) -> Router {
    let countries = Countries {
        cache,
        metrics: metrics_of,
    };
    Router::new()
        .route("/countries/{code}", get(country))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(countries))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let service = service(Cache::from_env()?, record()?);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("http://{}/metrics", listener.local_addr()?);
    axum::serve(listener, service).await?;
    Ok(())
}
