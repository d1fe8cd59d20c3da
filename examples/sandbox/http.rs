//! The page, and what its buttons do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use cache_dashboard::{Dashboard, loopback_only};
use cache_runtime::Cache;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::notes::Notes;
use crate::server::Server;

/// What the page is about.
#[derive(Clone)]
pub(crate) struct Sandbox {
    notes: Arc<Notes>,
    /// `None` if the cache is in the process.
    server: Option<Arc<Mutex<Server>>>,
    place: Arc<str>,
}

/// What went wrong, with its status.
type Failed = (StatusCode, String);

impl Sandbox {
    /// With this server, or without one.
    pub(crate) fn new(server: Option<Server>) -> Result<Self, cache_runtime::Error> {
        let (url, place) = match &server {
            Some(server) => (
                format!("redis://127.0.0.1:{}", server.port()),
                format!("started a server of its own on port {}", server.port()),
            ),
            None => (
                "memory:".to_owned(),
                "found no redis-server on PATH: the cache is in the process, and there is no server to break"
                    .to_owned(),
            ),
        };
        // A frozen server holds a call up for no longer than this.
        let soon = Duration::from_millis(300);
        let cache = Cache::builder()
            .url(url)
            .namespace("sandbox")
            .op_timeout(soon)
            .connect_timeout(soon)
            .build()?;
        Ok(Self {
            notes: Arc::new(Notes::new(cache)),
            server: server.map(|server| Arc::new(Mutex::new(server))),
            place: place.into(),
        })
    }

    /// Where its cache is, for a person.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    pub(crate) fn router(&self) -> Router {
        let dashboard = Dashboard::new(self.notes.cache.clone(), loopback_only())
            .show_values(true)
            .editable(true);
        Router::new()
            .route(
                "/",
                get(|| async { asset("text/html; charset=utf-8", include_str!("page.html")) }),
            )
            .route(
                "/sandbox.js",
                get(|| async { asset("text/javascript; charset=utf-8", include_str!("page.js")) }),
            )
            .route(
                "/sandbox.css",
                get(|| async { asset("text/css; charset=utf-8", include_str!("page.css")) }),
            )
            .route("/api/state", get(state))
            .route("/api/read", get(read))
            .route("/api/write", post(write))
            .route("/api/server/{act}", post(act))
            .nest("/cache", dashboard.router())
            .with_state(self.clone())
    }
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                  img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)),
    ];
    (headers, text).into_response()
}

fn answer(value: &Value) -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, json)], value.to_string()).into_response()
}

/// The state of the cache, of its server, and of what is stored. It counts as no hit.
async fn state(Shared(sandbox): Shared<Sandbox>) -> Response {
    let notes = &sandbox.notes;
    let health = notes.cache.health();
    let server = match &sandbox.server {
        Some(server) => {
            let mut server = server.lock().await;
            json!({ "port": server.port(), "state": server.state() })
        }
        None => Value::Null,
    };
    let stored = match notes.cache.inspect("note").await {
        Ok(inspection) => json!({
            "why": inspection.why,
            "served": inspection.would_be_served,
            "remaining": inspection.entry.and_then(|entry| entry.remaining).map(|left| left.as_secs_f64()),
        }),
        Err(error) => json!({ "why": error.to_string(), "served": false, "remaining": null }),
    };
    answer(&json!({
        "place": &*sandbox.place,
        "server": server,
        "status": health.status,
        "waiting": health.waiting,
        "stored": stored,
        "in_database": notes.in_database(),
        "database_reads": notes.reads(),
    }))
}

/// Reads the note through the cache, and says whether it is the one that was written last.
async fn read(Shared(sandbox): Shared<Sandbox>) -> Response {
    let notes = &sandbox.notes;
    // Before the read: a note that is written while it runs may be read or not.
    let written = notes.in_database();
    let (begun, loads) = (Instant::now(), notes.cache.stats().loads);
    let note = notes.read().await;
    answer(&json!({
        "note": note,
        "is_old": note.edition < written.edition,
        "from": if notes.cache.stats().loads == loads { "the cache" } else { "the database" },
        "milliseconds": begun.elapsed().as_secs_f64() * 1e3,
    }))
}

#[derive(Deserialize)]
struct Write {
    text: String,
}

async fn write(
    Shared(sandbox): Shared<Sandbox>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failed> {
    check(&headers)?;
    let write: Write = serde_json::from_slice(&body).map_err(|error| {
        (
            StatusCode::BAD_REQUEST,
            format!("send {{\"text\": …}}: {error}"),
        )
    })?;
    let begun = Instant::now();
    let note = sandbox.notes.write(write.text).await;
    Ok(answer(
        &json!({ "note": note, "milliseconds": begun.elapsed().as_secs_f64() * 1e3 }),
    ))
}

/// Does something to the server that this program has started.
async fn act(
    Shared(sandbox): Shared<Sandbox>,
    Path(act): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failed> {
    check(&headers)?;
    let Some(server) = &sandbox.server else {
        let what = "there is no server: the cache is in the process";
        return Err((StatusCode::CONFLICT, what.to_owned()));
    };
    let mut server = server.lock().await;
    let done = match act.as_str() {
        "kill" => server.kill(),
        "freeze" => server.freeze(),
        "continue" => server.thaw(),
        "restart" => server.restart().await,
        _ => {
            return Err((
                StatusCode::NOT_FOUND,
                "kill, freeze, continue or restart it".to_owned(),
            ));
        }
    };
    done.map_err(|error| (StatusCode::CONFLICT, error.to_string()))?;
    Ok(answer(&json!({ "state": server.state() })))
}

/// A page of another site cannot send JSON here: its browser asks first, and is not answered.
fn check(headers: &HeaderMap) -> Result<(), Failed> {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if kind == Some(b"application/json") {
        return Ok(());
    }
    Err((StatusCode::FORBIDDEN, "send JSON".to_owned()))
}
