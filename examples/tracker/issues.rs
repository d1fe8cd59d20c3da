//! Lists of issues, and what changes them: each change names the old and the new value.

#[cfg(test)]
use cache_runtime::Cache;
use cache_runtime::{cache_defaults, cache_invalidate, cached};
use sqlx::SqliteConnection;

use crate::entities::{Filter, Issue, IssueId, ProjectId, UserId};
use crate::repository::Repository;

#[cache_defaults(cache = self.cache, ttl = "10m")]
impl Repository<Issue> {
    #[cached(
        key = "issues:<self.tenant>:of:<assignee>",
        invalidate_on = "tenant:<self.tenant>:assignee:<assignee>"
    )]
    pub async fn of(&self, assignee: Option<UserId>) -> sqlx::Result<Vec<Issue>> {
        sqlx::query_as("SELECT * FROM issue WHERE tenant = ? AND assignee IS ? ORDER BY id")
            .bind(self.tenant)
            .bind(assignee)
            .fetch_all(&self.pool)
            .await
    }

    #[cached(key = "issues:<self.tenant>:in:<project>")]
    pub async fn count_in(&self, project: ProjectId) -> sqlx::Result<i64> {
        sqlx::query_scalar("SELECT count(*) FROM issue WHERE tenant = ? AND project = ?")
            .bind(self.tenant)
            .bind(project)
            .fetch_one(&self.pool)
            .await
    }

    #[cached(
        key = "issues:<self.tenant>:where:<filter>",
        invalidate_on = "issues:<self.tenant>"
    )]
    pub async fn list(&self, filter: Filter) -> sqlx::Result<Vec<Issue>> {
        sqlx::query_as(
            "SELECT * FROM issue WHERE tenant = ?1 AND open = ?2
             AND (?3 IS NULL OR project = ?3) ORDER BY id",
        )
        .bind(self.tenant)
        .bind(filter.open)
        .bind(filter.project)
        .fetch_all(&self.pool)
        .await
    }

    #[cache_invalidate(
        "<Self>:<self.tenant>:<issue.id>",
        "<Self>:<self.tenant>:count",
        "issues:<self.tenant>",
        "issues:<self.tenant>:in:<issue.project>",
        "tenant:<self.tenant>:assignee:<issue.assignee>"
    )]
    pub async fn insert(&self, db: &mut SqliteConnection, issue: &Issue) -> sqlx::Result<()> {
        sqlx::query("INSERT INTO issue VALUES (?, ?, ?, ?, ?, ?, ?)")
            .bind(issue.id)
            .bind(self.tenant)
            .bind(issue.project)
            .bind(issue.assignee)
            .bind(issue.parent)
            .bind(&issue.title)
            .bind(issue.open)
            .execute(db)
            .await?;
        Ok(())
    }

    /// Moves an issue to another project and assignee. `old` was read in the same transaction.
    #[cache_invalidate(
        "<Self>:<self.tenant>:<old.id>",
        "issues:<self.tenant>",
        "issues:<self.tenant>:in:<old.project>",
        "issues:<self.tenant>:in:<result.project>",
        "tenant:<self.tenant>:assignee:<old.assignee>",
        "tenant:<self.tenant>:assignee:<result.assignee>"
    )]
    pub async fn relocate(
        &self,
        db: &mut SqliteConnection,
        old: &Issue,
        project: ProjectId,
        assignee: Option<UserId>,
    ) -> sqlx::Result<Issue> {
        sqlx::query_as(
            "UPDATE issue SET project = ?, assignee = ?, open = NOT open
             WHERE tenant = ? AND id = ? RETURNING *",
        )
        .bind(project)
        .bind(assignee)
        .bind(self.tenant)
        .bind(old.id)
        .fetch_one(db)
        .await
    }

    /// `relocate` with one mistake: the old assignee is not named.
    #[cfg(test)]
    #[cache_invalidate(
        "<Self>:<self.tenant>:<old.id>",
        "issues:<self.tenant>",
        "issues:<self.tenant>:in:<old.project>",
        "issues:<self.tenant>:in:<result.project>",
        "tenant:<self.tenant>:assignee:<result.assignee>"
    )]
    pub async fn relocate_without_old_assignee(
        &self,
        db: &mut SqliteConnection,
        old: &Issue,
        project: ProjectId,
        assignee: Option<UserId>,
    ) -> sqlx::Result<Issue> {
        let off = Cache::builder().url("off:").build().expect("a valid url");
        Self::new(self.tenant, &self.pool, &off)
            .relocate(db, old, project, assignee)
            .await
    }

    /// The row as the transaction sees it: for the names of its old values.
    pub async fn current(
        &self,
        db: &mut SqliteConnection,
        id: IssueId,
    ) -> sqlx::Result<Option<Issue>> {
        sqlx::query_as("SELECT * FROM issue WHERE tenant = ? AND id = ?")
            .bind(self.tenant)
            .bind(id)
            .fetch_optional(db)
            .await
    }
}
