//! What a client is answered.

use axum::Router;
use axum::body::Body;
use axum::http::header::{AGE, CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use cache_runtime::Cache;
use cache_tests::RedisServer;
use tower::ServiceExt as _;

use super::router;

async fn asked(router: &Router, method: &str, path: &str, known: Option<&str>) -> Response {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(known) = known {
        request = request.header(IF_NONE_MATCH, known);
    }
    let request = request.body(Body::empty()).unwrap();
    router.clone().oneshot(request).await.unwrap()
}

fn etag(response: &Response) -> String {
    response.headers()[ETAG].to_str().unwrap().to_owned()
}

async fn a_client_that_has_the_article_is_told_so(cache: Cache) {
    let router = router(cache.clone());
    let path = "/articles/7";
    let first = asked(&router, "GET", path, None).await;
    assert_eq!(first.status(), StatusCode::OK);
    let tag = etag(&first);
    let again = asked(&router, "GET", path, Some(&tag)).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(etag(&again), tag);
    assert!(again.headers().contains_key(AGE) && again.headers().contains_key(CACHE_CONTROL));
    // Another article has another tag.
    let other = asked(&router, "GET", "/articles/8", Some(&tag)).await;
    assert_eq!(other.status(), StatusCode::OK);

    let revised = asked(&router, "POST", "/articles/7/revise", None).await;
    assert_eq!(revised.status(), StatusCode::OK);
    let changed = asked(&router, "GET", path, Some(&tag)).await;
    assert_eq!(changed.status(), StatusCode::OK);
    assert_ne!(etag(&changed), tag);

    // Past its ttl it is what it was, and its `Age` and lifetime say that it is old.
    let tag = etag(&changed);
    cache.expire(["article:7"]).await.unwrap();
    let refreshed = asked(&router, "GET", path, Some(&tag)).await;
    assert_eq!(
        refreshed.status(),
        StatusCode::OK,
        "this call has loaded it anew"
    );
}

#[tokio::test]
async fn in_the_process() {
    let cache = Cache::builder().url("memory:").build().unwrap();
    a_client_that_has_the_article_is_told_so(cache).await;
}

#[tokio::test]
async fn on_a_server() {
    let server = RedisServer::start();
    let cache = Cache::builder().url(server.url()).build().unwrap();
    a_client_that_has_the_article_is_told_so(cache).await;
}
