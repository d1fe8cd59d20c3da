//! Code for axum: handlers that destructure extractors, extractors that look users up, and services
//! behind an `Arc` in the state.

use std::sync::Arc;

use cache_runtime::{Cache, KeyPart, cache_invalidate, cached};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::stub::axum::{FromRef, FromRequestParts, Json, Parts, Path, Query, State, StatusCode};
use super::stub::sqlx::{self, PgPool};
use super::{Rows, cache, is_cached_until};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    id: Uuid,
    owner: i64,
    text: String,
}

#[derive(Debug)]
enum AppError {
    NotFound,
    Internal,
}

impl From<sqlx::Error> for AppError {
    fn from(_error: sqlx::Error) -> Self {
        Self::Internal
    }
}

impl From<AppError> for StatusCode {
    fn from(error: AppError) -> Self {
        match error {
            AppError::NotFound => Self::NOT_FOUND,
            AppError::Internal => Self::INTERNAL_SERVER_ERROR,
        }
    }
}

fn note_row(id: u128, owner: i64) -> serde_json::Value {
    json!({ "id": Uuid::from_u128(id), "owner": owner, "text": "one" })
}

// Handlers. The value must implement serde's traits, so it is not a `Json`.

#[cached(key = "axum:text:<id>", skip(pool), cache = cache())]
async fn show_text(State(pool): State<PgPool>, Path(id): Path<Uuid>) -> Result<String, AppError> {
    let text = sqlx::query_scalar("SELECT text FROM notes WHERE id = $1")
        .bind(id)
        .fetch_optional(&pool)
        .await?;
    text.ok_or(AppError::NotFound)
}

#[derive(Deserialize)]
struct UpdateNote {
    text: String,
}

#[cache_invalidate(
    "axum:text:<id>",
    "axum:note:<id>",
    "axum:owner:<result.0.owner>:notes",
    cache = cache()
)]
async fn update_note(
    State(pool): State<PgPool>,
    Path(id): Path<Uuid>,
    Json(input): Json<UpdateNote>,
) -> Result<Json<Note>, AppError> {
    let UpdateNote { text } = input;
    let note: Option<Note> = sqlx::query_as("UPDATE notes SET text = $1 WHERE id = $2 RETURNING *")
        .bind(text)
        .bind(id)
        .fetch_optional(&pool)
        .await?;
    let Some(note) = note else {
        return Err(AppError::NotFound);
    };
    Ok(Json(note))
}

async fn update(pool: &PgPool, id: Uuid) {
    let text = "two".to_owned();
    let Json(note) = update_note(State(pool.clone()), Path(id), Json(UpdateNote { text }))
        .await
        .unwrap();
    assert_eq!(note.text, "two");
}

#[tokio::test]
async fn a_handler_with_destructured_extractors_is_cached() {
    let rows = Rows::default().with("notes", note_row(1, 1));
    let (pool, id) = (PgPool::new(&rows), Uuid::from_u128(1));
    let read = async || {
        let text = show_text(State(pool.clone()), Path(id)).await;
        text.unwrap()
    };
    is_cached_until(&rows, read, async || update(&pool, id).await).await;
}

#[derive(KeyPart)]
struct Paging {
    limit: Option<u32>,
    offset: Option<u32>,
}

#[cached(
    key = "axum:notes:<owner>:<paging>",
    invalidate_on = "axum:owner:<owner>:notes",
    condition = paging.offset.is_none(),
    skip(pool),
    cache = cache()
)]
async fn list_texts(
    State(pool): State<PgPool>,
    Path(owner): Path<i64>,
    Query(paging): Query<Paging>,
) -> Result<Vec<String>, StatusCode> {
    let notes: Vec<Note> =
        sqlx::query_as("SELECT * FROM notes WHERE owner = $1 LIMIT $2 OFFSET $3")
            .bind(owner)
            .bind(paging.limit.unwrap_or(20))
            .bind(paging.offset.unwrap_or(0))
            .fetch_all(&pool)
            .await
            .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(notes.into_iter().map(|note| note.text).collect())
}

#[tokio::test]
async fn a_handler_with_a_query_is_cached() {
    let rows = Rows::default().with("notes", note_row(2, 2));
    let pool = PgPool::new(&rows);
    let page = async |offset| {
        let paging = Paging {
            limit: Some(5),
            offset,
        };
        let texts = list_texts(State(pool.clone()), Path(2), Query(paging)).await;
        texts.unwrap()
    };
    let update = async || update(&pool, Uuid::from_u128(2)).await;
    is_cached_until(&rows, async || page(None).await, update).await;

    let before = rows.queries();
    for _ in 0..2 {
        assert!(page(Some(1)).await.is_empty());
    }
    assert_eq!(rows.queries(), before + 2, "only the first page is cached");
}

// A service in the state, with a cache of its own.

#[derive(Clone)]
struct AppState {
    notes: Arc<NoteService>,
}

struct NoteService {
    pool: PgPool,
    cache: Cache,
}

impl FromRef<AppState> for Arc<NoteService> {
    fn from_ref(state: &AppState) -> Self {
        Arc::clone(&state.notes)
    }
}

impl NoteService {
    #[cached(key = "axum:note:<id>", ttl = "1m", cache = self.cache)]
    async fn get(self: Arc<Self>, id: Uuid) -> Result<Arc<Note>, AppError> {
        let note = sqlx::query_as("SELECT * FROM notes WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.pool)
            .await?
            .ok_or(AppError::NotFound)?;
        Ok(Arc::new(note))
    }

    #[cache_invalidate("axum:note:<id>", cache = self.cache)]
    async fn delete(&self, id: Uuid) -> Result<(), AppError> {
        let deleted = sqlx::query("DELETE FROM notes WHERE id = $1")
            .bind(id)
            .execute(&self.pool)
            .await?;
        if deleted == 0 {
            return Err(AppError::NotFound);
        }
        Ok(())
    }
}

/// Is not annotated: it asks the service, and wraps the answer.
async fn show_note(
    State(state): State<AppState>,
    Path(id): Path<Uuid>,
) -> Result<Json<Note>, StatusCode> {
    let note = Arc::<NoteService>::from_ref(&state).get(id).await?;
    Ok(Json(Note::clone(&note)))
}

async fn delete_note(State(state): State<AppState>, Path(id): Path<Uuid>) -> StatusCode {
    match state.notes.delete(id).await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(error) => error.into(),
    }
}

#[tokio::test]
async fn a_service_may_have_a_cache_of_its_own() {
    let rows = Rows::default().with("notes", note_row(3, 3));
    let (pool, id) = (PgPool::new(&rows), Uuid::from_u128(3));
    let cache = Cache::builder().url("memory:").build().unwrap();
    let notes = Arc::new(NoteService { pool, cache });
    let state = AppState { notes };
    let show = async || show_note(State(state.clone()), Path(id)).await;
    assert!(show().await.is_ok());
    let before = rows.queries();
    assert!(show().await.is_ok());
    assert_eq!(rows.queries(), before, "a hit");
    let deleted = delete_note(State(state.clone()), Path(id)).await;
    assert_eq!(deleted, StatusCode::NO_CONTENT);
    assert_eq!(show().await, Err(StatusCode::NOT_FOUND));
}

// An extractor that finds the user of a request.

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct CurrentUser {
    token: String,
    name: String,
}

impl Parts {
    fn bearer(&self) -> Option<&str> {
        self.headers.get("authorization")?.strip_prefix("Bearer ")
    }
}

impl FromRequestParts<PgPool> for CurrentUser {
    type Rejection = StatusCode;

    #[cached(key = "axum:session:<parts.bearer()>", ttl = 30, skip(pool), cache = cache())]
    async fn from_request_parts(parts: &mut Parts, pool: &PgPool) -> Result<Self, Self::Rejection> {
        let token = parts.bearer().ok_or(StatusCode::UNAUTHORIZED)?;
        sqlx::query_as("SELECT * FROM sessions WHERE token = $1")
            .bind(token)
            .fetch_one(pool)
            .await
            .map_err(|_| StatusCode::UNAUTHORIZED)
    }
}

#[cache_invalidate("axum:session:<parts.bearer()>", cache = cache())]
async fn rename_me(parts: &Parts, pool: &PgPool, name: &str) -> Result<StatusCode, AppError> {
    let token = parts.bearer().ok_or(AppError::NotFound)?;
    sqlx::query("UPDATE sessions SET name = $1 WHERE token = $2")
        .bind(name)
        .bind(token)
        .execute(pool)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

#[tokio::test]
async fn an_extractor_is_cached() {
    let session = json!({ "token": "s4", "name": "Ada" });
    let rows = Rows::default().with("sessions", session);
    let pool = PgPool::new(&rows);
    let headers = [("authorization", "Bearer s4".to_owned())];
    let parts = Parts {
        headers: headers.clone().into(),
    };
    let mut request = Parts {
        headers: headers.into(),
    };
    let read = async || {
        let user = CurrentUser::from_request_parts(&mut request, &pool).await;
        user.unwrap()
    };
    let update = async || {
        let renamed = rename_me(&parts, &pool, "Grace").await;
        assert_eq!(renamed.unwrap(), StatusCode::NO_CONTENT);
    };
    is_cached_until(&rows, read, update).await;
    let stranger = CurrentUser::from_request_parts(&mut Parts::default(), &pool).await;
    assert_eq!(stranger, Err(StatusCode::UNAUTHORIZED));
}
