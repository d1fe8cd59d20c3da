//! The cache's spans for OpenTelemetry: what a request waited for, and whether the cache answered it.
//!
//! ```sh
//! cargo run --example opentelemetry
//! CACHE_URL=redis://127.0.0.1/ cargo run --example opentelemetry
//! ```
//!
//! The spans go to the standard output here. In a service, an exporter over OTLP takes that one's place.

#[cfg(test)]
mod tests;

use std::time::Duration;

use cache_runtime::{Cache, cached};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanExporter};
use tracing::{Instrument as _, Subscriber, info_span};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

#[cached(key = "square:<n>", ttl = "1m", cache = cache, skip(cache))]
async fn square(cache: &Cache, n: u64) -> u64 {
    // A query, which an instrumented client of a database would make a span of.
    let query = tokio::time::sleep(Duration::from_millis(20));
    query.instrument(info_span!("query")).await;
    n * n
}

/// A subscriber that gives spans to OpenTelemetry: those of the program, and those of the cache.
fn subscriber(provider: &SdkTracerProvider) -> impl Subscriber + Send + Sync {
    // The cache's spans have a target of their own, without what it logs at that level.
    let spans = Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target("cache_runtime::spans", LevelFilter::DEBUG);
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("shop"));
    tracing_subscriber::registry().with(layer.with_filter(spans))
}

fn provider(exporter: impl SpanExporter + 'static) -> SdkTracerProvider {
    SdkTracerProvider::builder()
        .with_simple_exporter(exporter)
        .build()
}

/// Two requests of one value: the first loads it.
async fn requests(cache: &Cache) {
    for _ in 0..2 {
        let request = square(cache, 7).instrument(info_span!("request"));
        println!("{}", request.await);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let provider = provider(opentelemetry_stdout::SpanExporter::default());
    tracing::subscriber::set_global_default(subscriber(&provider))?;
    requests(&Cache::from_env()?).await;
    provider.shutdown()?;
    Ok(())
}
