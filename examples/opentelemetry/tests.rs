use std::pin::pin;
use std::sync::{Arc, Mutex};

use cache_tests::{RedisServer, patient, poll_once};
use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::SpanData;

use super::*;

/// Keeps what is exported.
#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Kept {
    async fn export(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(spans);
        Ok(())
    }
}

fn attribute(span: &SpanData, name: &str) -> Option<String> {
    let mut attributes = span.attributes.iter();
    let found = attributes.find(|it| it.key.as_str() == name)?;
    Some(found.value.as_str().into_owned())
}

#[tokio::test]
async fn the_spans_of_a_miss_and_of_a_hit() {
    let server = RedisServer::start();
    let cache = patient(&server.url()).build().unwrap();
    let kept = Kept::default();
    let provider = provider(kept.clone());
    let _subscribed = tracing::subscriber::set_default(subscriber(&provider));
    requests(&cache).await;

    let spans = kept.0.lock().unwrap();
    let names: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
    // In the order of their ends. The value is stored before the call returns.
    let expected = [
        "MGET",
        "EVAL",
        "query",
        "cache.load",
        "EVAL",
        "request",
        "MGET",
        "request",
    ];
    assert_eq!(names, expected);
    let [miss, .., hit, _] = &spans[..] else {
        panic!("there are some");
    };
    assert_eq!(attribute(miss, "cache.miss").as_deref(), Some("absent"));
    assert_eq!(attribute(hit, "cache.hit").as_deref(), Some("true"));
    assert_eq!(miss.span_kind, SpanKind::Client);
    let (query, load) = (&spans[2], &spans[3]);
    assert_eq!(query.parent_span_id, load.span_context.span_id());
    assert_eq!(load.parent_span_id, spans[5].span_context.span_id());
    assert_eq!(
        attribute(load, "cache.template").as_deref(),
        Some("square:<n>")
    );
    assert_eq!(attribute(load, "cache.key"), None);
}

#[cached(key = "cube:<n>", ttl = "1m", detach, cache = cache, skip(cache))]
async fn cube(cache: &Cache, n: u64) -> u64 {
    let query = tokio::time::sleep(Duration::from_millis(1));
    query.instrument(info_span!("query")).await;
    n * n * n
}

/// The spans of a name, with the names of their parents, in the order of their ends.
fn with_parents<'a>(spans: &'a [SpanData], name: &str) -> Vec<&'a str> {
    let is_parent =
        |span: &SpanData, parent: &SpanData| span.parent_span_id == parent.span_context.span_id();
    let named = spans.iter().filter(|span| span.name == name);
    let parents = named.map(|span| spans.iter().find(|parent| is_parent(span, parent)));
    parents
        .map(|parent| parent.map_or("", |it| &it.name))
        .collect()
}

#[tokio::test]
async fn a_load_in_a_task_is_within_the_call_that_began_it() {
    let kept = Kept::default();
    let provider = provider(kept.clone());
    let _subscribed = tracing::subscriber::set_default(subscriber(&provider));
    let cache = Cache::builder().url("memory:").build().unwrap();
    {
        let mut given_up = pin!(cube(&cache, 7).instrument(info_span!("given up")));
        assert!(poll_once(given_up.as_mut()).is_pending());
    }
    let second = cube(&cache, 7).instrument(info_span!("second"));
    assert_eq!(second.await, 343);
    let spans = kept.0.lock().unwrap();
    assert_eq!(with_parents(&spans, "cache.load"), ["given up"]);
    assert_eq!(with_parents(&spans, "query"), ["cache.load"]);
}

#[tokio::test]
async fn a_load_that_is_taken_over_is_within_the_call_that_takes_over() {
    let kept = Kept::default();
    let provider = provider(kept.clone());
    let _subscribed = tracing::subscriber::set_default(subscriber(&provider));
    let cache = Cache::builder().url("memory:").build().unwrap();
    // A span is exported when its future is dropped.
    {
        let mut second = pin!(square(&cache, 7).instrument(info_span!("second")));
        let mut first = Box::pin(square(&cache, 7).instrument(info_span!("first")));
        assert!(poll_once(first.as_mut()).is_pending());
        assert!(poll_once(second.as_mut()).is_pending());
        drop(first);
        assert_eq!(second.await, 49);
    }
    let spans = kept.0.lock().unwrap();
    let loads: Vec<_> = spans
        .iter()
        .filter(|span| span.name == "cache.load")
        .collect();
    assert_eq!(with_parents(&spans, "cache.load"), ["first", "second"]);
    let outcomes = [loads[0], loads[1]].map(|load| attribute(load, "cache.outcome"));
    assert_eq!(outcomes, [None, Some("value".to_owned())]);
}
