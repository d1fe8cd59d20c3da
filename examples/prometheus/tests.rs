use std::collections::BTreeSet;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::Value;
use tower::ServiceExt as _;

use super::*;

async fn ask(service: &Router, path: &str) -> String {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let answer = service.clone().oneshot(request).await.unwrap();
    let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

/// The metrics that the queries of a dashboard name.
fn queried(dashboard: &Value, names: &mut BTreeSet<String>) {
    match dashboard {
        Value::Object(fields) => {
            if let Some(Value::String(query)) = fields.get("expr") {
                let words = query.split(|it: char| !(it.is_alphanumeric() || it == '_'));
                let metrics = words.filter(|word| word.starts_with("cache_"));
                names.extend(metrics.map(|word| word.trim_end_matches("_bucket").to_owned()));
            }
            fields.values().for_each(|field| queried(field, names));
        }
        Value::Array(all) => all.iter().for_each(|it| queried(it, names)),
        _ => {}
    }
}

#[tokio::test]
async fn what_the_dashboard_asks_for_is_there() {
    let cache = Cache::builder()
        .url("memory:")
        .namespace("shop")
        .build()
        .unwrap();
    let service = service(cache, record().unwrap());
    for _ in 0..3 {
        assert_eq!(ask(&service, "/countries/FR").await, "France");
    }
    ask(&service, "/countries/none").await;
    let metrics = ask(&service, "/metrics").await;
    let published: BTreeSet<String> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| Some(line.split_once(' ')?.0.to_owned()))
        .collect();
    let mut names = BTreeSet::new();
    let dashboard = serde_json::from_str(include_str!("dashboard.json")).unwrap();
    queried(&dashboard, &mut names);
    assert!(names.len() >= 10, "{names:?}");
    let missing: Vec<_> = names.difference(&published).collect();
    assert!(missing.is_empty(), "{missing:?} are not in {published:?}");

    let series = |start: &str, end: &str| {
        let mut lines = metrics.lines();
        let found = lines.find(|line| line.starts_with(start) && line.contains("shop"));
        assert!(
            found.is_some_and(|line| line.ends_with(end)),
            "{start}: {found:?}\n{metrics}"
        );
    };
    series("cache_puts_total", " 1");
    series("cache_load_failures_total", " 1");
    series("cache_entries", " 1");
    assert!(metrics.contains(r#"result="hit""#) && metrics.contains("cache_load_seconds_bucket"));
}
