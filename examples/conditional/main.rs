//! What a cached value says of itself, as HTTP says it: `ETag`, `Age`, `Cache-Control`, and `304 Not
//! Modified` where a client has the value already.
//!
//! ```sh
//! cargo run --example conditional
//! curl -i localhost:3000/articles/7
//! curl -i localhost:3000/articles/7 -H 'If-None-Match: "…"'
//! ```

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::extract::{Path, State};
use axum::http::header::{AGE, CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use cache_runtime::{Cache, CachedEntry, Entry, cache_invalidate, cached};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Article {
    id: u64,
    text: String,
}

struct Articles {
    cache: Cache,
    /// In the place of a database: how often each article was revised.
    revisions: AtomicU64,
}

impl Articles {
    /// For ten minutes after its ttl, readers are served the old article, while one of them loads it. If the
    /// database is away, for a day.
    #[cached(
        key = "article:<id>", ttl = "1m", stale_while_revalidate = "10m", stale_if_error = "1d",
        cache = self.cache, skip(self)
    )]
    async fn find(&self, id: u64) -> Result<Option<Article>, StatusCode> {
        let revision = self.revisions.load(Relaxed);
        Ok(Some(Article {
            id,
            text: format!("revision {revision}"),
        }))
    }

    #[cache_invalidate("article:<id>", cache = self.cache)]
    async fn revise(&self, id: u64) -> Result<(), StatusCode> {
        let _ = id;
        self.revisions.fetch_add(1, Relaxed);
        Ok(())
    }
}

async fn article(
    State(articles): State<Arc<Articles>>,
    Path(id): Path<u64>,
    headers: HeaderMap,
) -> Result<Response, StatusCode> {
    // This loads what is not there, and refreshes what is old.
    let found = articles.find(id).await?;
    // The body is the value that the headers are about, which may be a newer one by now.
    let entry = CachedEntry::of(articles.find(id)).ok();
    let entry = match entry {
        Some(entry) => entry.stored::<Article>().await.ok().flatten(),
        None => None,
    };
    let Some(entry) = entry.filter(|entry| entry.value.is_some()) else {
        // The cache is away, or the article was changed a moment ago.
        let found = found.ok_or(StatusCode::NOT_FOUND)?;
        return Ok(([(CACHE_CONTROL, "no-store")], Json(found)).into_response());
    };
    let about = about(&entry);
    let is_known = headers.get(IF_NONE_MATCH);
    if is_known.is_some_and(|known| known.as_bytes() == entry.etag().as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, about).into_response());
    }
    Ok((about, Json(entry.value)).into_response())
}

/// A client may show the value for as long as it is fresh. An invalidation does not reach that client: where
/// this matters, write `no-cache`, and it asks each time, for a `304` mostly.
fn about(entry: &Entry<Article>) -> [(HeaderName, String); 3] {
    let age = entry.age.unwrap_or_default();
    let lifetime = (age + entry.remaining).as_secs();
    [
        (ETAG, entry.etag()),
        (AGE, age.as_secs().to_string()),
        (
            CACHE_CONTROL,
            format!("max-age={lifetime}, stale-while-revalidate=600"),
        ),
    ]
}

async fn revise(
    State(articles): State<Arc<Articles>>,
    Path(id): Path<u64>,
) -> Result<(), StatusCode> {
    articles.revise(id).await
}

fn router(cache: Cache) -> Router {
    let articles = Articles {
        cache,
        revisions: AtomicU64::new(1),
    };
    Router::new()
        .route("/articles/{id}", get(article))
        .route("/articles/{id}/revise", post(revise))
        .with_state(Arc::new(articles))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cache = Cache::from_env()?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("http://{}/articles/7", listener.local_addr()?);
    axum::serve(listener, router(cache)).await?;
    Ok(())
}
