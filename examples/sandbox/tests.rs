//! The sandbox over HTTP: what its page asks for, and that its promise holds while its server is broken.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::http::Sandbox;
use crate::server;

async fn send(app: &Router, request: Request<Body>) -> (StatusCode, String) {
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn get(app: &Router, path: &str) -> Value {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let (status, text) = send(app, request).await;
    assert_eq!(status, StatusCode::OK, "{path}: {text}");
    serde_json::from_str(&text).unwrap()
}

async fn post(app: &Router, path: &str, body: Value) -> (StatusCode, String) {
    let request = Request::post(path).header("content-type", "application/json");
    send(app, request.body(body.to_string().into()).unwrap()).await
}

/// Reads until the note comes from there. It is never an old one, and no read takes long.
async fn read_from(app: &Router, place: &str) -> Value {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let read = get(app, "/api/read").await;
        assert_eq!(read["is_old"], false, "{read}");
        if read["from"] == place {
            return read;
        }
        assert!(Instant::now() < end, "{read}");
    }
}

async fn state_is(app: &Router, expected: &str) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        get(app, "/api/read").await;
        let state = get(app, "/api/state").await;
        if state["status"]["state"] == expected {
            return;
        }
        assert!(Instant::now() < end, "{state}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn write(app: &Router, text: &str) {
    assert_eq!(
        post(app, "/api/write", json!({ "text": text })).await.0,
        StatusCode::OK
    );
}

async fn act(app: &Router, act: &str) -> StatusCode {
    post(app, &format!("/api/server/{act}"), json!({})).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn no_read_gets_a_note_that_was_replaced_whatever_happens_to_the_server() {
    let server = server::start().await.expect("a redis-server on PATH");
    let app = Sandbox::new(Some(server)).unwrap().router();
    assert_eq!(get(&app, "/api/read").await["from"], "the database");
    assert_eq!(get(&app, "/api/read").await["from"], "the cache");
    let state = get(&app, "/api/state").await;
    assert_eq!(state["server"]["state"], "running");
    assert!(
        state["stored"]["remaining"].as_f64().unwrap() > 1.0,
        "{state}"
    );

    for (breaks, mends, expected) in [
        ("kill", "restart", "killed"),
        ("freeze", "continue", "frozen"),
    ] {
        read_from(&app, "the cache").await;
        assert_eq!(act(&app, breaks).await, StatusCode::OK);
        assert_eq!(get(&app, "/api/state").await["server"]["state"], expected);
        write(&app, breaks).await;
        let read = read_from(&app, "the database").await;
        assert_eq!(read["note"]["text"], breaks);
        state_is(&app, "unreachable").await;
        assert_eq!(act(&app, mends).await, StatusCode::OK);
        state_is(&app, "working").await;
        let read = read_from(&app, "the cache").await;
        assert_eq!(read["note"]["text"], breaks);
    }
    assert_eq!(act(&app, "kill").await, StatusCode::OK);
    assert_eq!(act(&app, "freeze").await, StatusCode::CONFLICT);
    assert_eq!(act(&app, "explode").await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn without_a_server_the_cache_is_in_the_process_and_says_so() {
    let sandbox = Sandbox::new(None).unwrap();
    assert!(sandbox.place().contains("in the process"));
    let app = sandbox.router();
    get(&app, "/api/read").await;
    assert_eq!(get(&app, "/api/read").await["from"], "the cache");
    write(&app, "new").await;
    assert_eq!(get(&app, "/api/read").await["note"]["text"], "new");
    let state = get(&app, "/api/state").await;
    assert_eq!(
        (&state["server"], &state["status"]["state"]),
        (&Value::Null, &json!("working"))
    );
    assert_eq!(act(&app, "kill").await, StatusCode::CONFLICT);
}

#[tokio::test]
async fn the_page_and_its_dashboard_are_served_and_another_site_does_nothing() {
    let app = Sandbox::new(None).unwrap().router();
    for (path, part) in [
        ("/", "Cache sandbox"),
        ("/sandbox.js", "use strict"),
        ("/sandbox.css", ".columns"),
    ] {
        let (status, text) = send(&app, Request::get(path).body(Body::empty()).unwrap()).await;
        assert!(status == StatusCode::OK && text.contains(part), "{path}");
    }
    let here: SocketAddr = "127.0.0.1:4000".parse().unwrap();
    let dashboard = Request::get("/cache")
        .header("host", "localhost:3000")
        .extension(ConnectInfo(here));
    let (status, text) = send(&app, dashboard.body(Body::empty()).unwrap()).await;
    assert!(status == StatusCode::OK && text.contains("Cache dashboard"));
    let form = Request::post("/api/write").header("content-type", "text/plain");
    let (status, _) = send(&app, form.body("{\"text\":\"x\"}".into()).unwrap()).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}
