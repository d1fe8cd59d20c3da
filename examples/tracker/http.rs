//! The tracker over HTTP. A handler knows nothing of the cache: what it reads may come from there, and
//! what it changes is invalidated when its transaction has committed.
//!
//! Who asks is in the headers `x-tenant` and `x-user`. A real service would find both in a token.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use cache_runtime::Cache;
use serde::Deserialize;
use sqlx::SqlitePool;

use crate::entities::{Filter, Issue, IssueId, Label, Project, ProjectId, TenantId, UserId};
use crate::error::Error;
use crate::tracker::Tracker;

/// What all requests share.
pub struct App {
    pub pool: SqlitePool,
    pub cache: Cache,
}

pub fn router(app: App) -> Router {
    Router::new()
        .route("/projects/{slug}", get(project).delete(remove))
        .route("/issues", get(issues))
        .route("/issues/{id}", get(issue).patch(change))
        .route("/issues/{id}/labels", get(labels))
        .route("/projects/{id}/close", post(close))
        .route("/labels", patch(label))
        .with_state(Arc::new(app))
}

/// The tracker of the tenant who asks, and the user.
struct Asking {
    tracker: Tracker,
    user: UserId,
}

impl FromRequestParts<Arc<App>> for Asking {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Error> {
        let number = |header: &str| {
            let value = parts.headers.get(header)?.to_str().ok()?;
            value.parse().ok()
        };
        let (Some(tenant), Some(user)) = (number("x-tenant"), number("x-user")) else {
            return Err(Error::Forbidden);
        };
        Ok(Self {
            tracker: Tracker::new(TenantId(tenant), &app.pool, &app.cache),
            user: UserId(user),
        })
    }
}

impl Asking {
    async fn check_may_edit(&self, project: ProjectId) -> Result<(), Error> {
        if self.tracker.members.may_edit(project, self.user).await? {
            Ok(())
        } else {
            Err(Error::Forbidden)
        }
    }
}

async fn project(asking: Asking, Path(slug): Path<String>) -> Result<Json<Project>, Error> {
    let project = asking.tracker.projects.by_slug(&slug).await?;
    project.map(Json).ok_or(Error::NotFound)
}

async fn remove(asking: Asking, Path(slug): Path<String>) -> Result<StatusCode, Error> {
    let tracker = &asking.tracker;
    let project = tracker.projects.by_slug(&slug).await?;
    let id = project.ok_or(Error::NotFound)?.id;
    asking.check_may_edit(id).await?;
    let delete = tracker.transaction(async |tx| tracker.delete_project(tx, id).await);
    delete.await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct Wanted {
    project: Option<ProjectId>,
    open: Option<bool>,
    #[serde(default)]
    page: u32,
}

async fn issues(asking: Asking, Query(wanted): Query<Wanted>) -> Result<Json<Vec<Issue>>, Error> {
    let Wanted {
        project,
        open,
        page,
    } = wanted;
    let filter = Filter { project, open };
    Ok(Json(asking.tracker.issues.page(filter, page).await?))
}

async fn issue(asking: Asking, Path(id): Path<IssueId>) -> Result<Json<Issue>, Error> {
    let issue = asking.tracker.issues.get(id).await?;
    issue.map(Json).ok_or(Error::NotFound)
}

async fn labels(asking: Asking, Path(id): Path<IssueId>) -> Result<Json<Vec<Label>>, Error> {
    Ok(Json(asking.tracker.labels.of(id).await?))
}

#[derive(Deserialize)]
struct Change {
    title: Option<String>,
    /// The project to move the issue to.
    project: Option<ProjectId>,
}

async fn change(
    asking: Asking,
    Path(id): Path<IssueId>,
    Json(change): Json<Change>,
) -> Result<Json<Issue>, Error> {
    let tracker = &asking.tracker;
    let issue = tracker.issues.get(id).await?.ok_or(Error::NotFound)?;
    asking.check_may_edit(issue.project).await?;
    let changed = tracker.transaction(async |tx| {
        let to = |issue: &mut Issue| {
            issue.title = change.title.unwrap_or_else(|| issue.title.clone());
            issue.project = change.project.unwrap_or(issue.project);
        };
        tracker.change_issue(tx, id, to).await
    });
    Ok(Json(changed.await?))
}

async fn close(asking: Asking, Path(id): Path<ProjectId>) -> Result<Json<usize>, Error> {
    asking.check_may_edit(id).await?;
    let tracker = &asking.tracker;
    let closed = tracker.transaction(async |tx| Ok(tracker.issues.close_all(tx, id).await?.len()));
    Ok(Json(closed.await?))
}

#[derive(Deserialize)]
struct Labelling {
    issues: Vec<IssueId>,
    labels: Vec<String>,
}

async fn label(asking: Asking, Json(labelling): Json<Labelling>) -> Result<StatusCode, Error> {
    let tracker = &asking.tracker;
    for id in &labelling.issues {
        let issue = tracker.issues.get(*id).await?.ok_or(Error::NotFound)?;
        asking.check_may_edit(issue.project).await?;
    }
    let labels: Vec<_> = labelling.labels.iter().map(String::as_str).collect();
    let add = tracker
        .transaction(async |tx| Ok(tracker.labels.add(tx, &labelling.issues, &labels).await?));
    add.await?;
    Ok(StatusCode::NO_CONTENT)
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::RolledBack => StatusCode::CONFLICT,
            Self::Database(_) | Self::Cache(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, self.to_string()).into_response()
    }
}
