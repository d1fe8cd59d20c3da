//! Lists of issues. What changes them is in `issue_changes.rs`.

use cache_runtime::{CacheTag, cache_defaults, cached};

use crate::entities::{Filter, Issue, IssueId, ProjectId, TenantId, UserId};
use crate::repository::Repository;

/// All lists of issues: for a change of many issues, which may be in any of them.
#[derive(CacheTag)]
#[cache_tag("issues:<0>")]
pub struct IssueLists(pub TenantId);

/// The lists that a filter narrows: any change of an issue may move it into one or out of one.
#[derive(CacheTag)]
#[cache_tag("issues:<0>:filtered")]
pub struct FilteredIssues(pub TenantId);

#[cache_defaults(cache = self.cache, ttl = "10m")]
impl Repository<Issue> {
    /// The issues of a user, or those without an assignee.
    #[cached(
        key = "issues:<self.tenant>:assignee:<assignee>",
        invalidate_on = IssueLists(self.tenant)
    )]
    pub async fn assigned_to(&self, assignee: Option<UserId>) -> sqlx::Result<Vec<Issue>> {
        sqlx::query_as("SELECT * FROM issue WHERE tenant = ? AND assignee IS ? ORDER BY id")
            .bind(self.tenant)
            .bind(assignee)
            .fetch_all(&self.pool)
            .await
    }

    #[cached(
        key = "issues:<self.tenant>:project:<project>",
        invalidate_on = IssueLists(self.tenant)
    )]
    pub async fn in_project(&self, project: ProjectId) -> sqlx::Result<Vec<Issue>> {
        sqlx::query_as("SELECT * FROM issue WHERE tenant = ? AND project = ? ORDER BY id")
            .bind(self.tenant)
            .bind(project)
            .fetch_all(&self.pool)
            .await
    }

    /// The sub-issues of an issue, or the issues that have no parent.
    #[cached(
        key = "issues:<self.tenant>:parent:<parent>",
        invalidate_on = IssueLists(self.tenant)
    )]
    pub async fn under(&self, parent: Option<IssueId>) -> sqlx::Result<Vec<Issue>> {
        sqlx::query_as("SELECT * FROM issue WHERE tenant = ? AND parent IS ? ORDER BY id")
            .bind(self.tenant)
            .bind(parent)
            .fetch_all(&self.pool)
            .await
    }

    #[cached(
        key = "issues:<self.tenant>:filter:<filter>",
        invalidate_on = [IssueLists(self.tenant), FilteredIssues(self.tenant)]
    )]
    pub async fn list(&self, filter: Filter) -> sqlx::Result<Vec<Issue>> {
        sqlx::query_as(
            "SELECT * FROM issue WHERE tenant = ?1
             AND (?2 IS NULL OR project = ?2) AND (?3 IS NULL OR open = ?3) ORDER BY id",
        )
        .bind(self.tenant)
        .bind(filter.project)
        .bind(filter.open)
        .fetch_all(&self.pool)
        .await
    }

    /// A part of such a list. Any change of an issue may move it to another page.
    #[cached(
        key = "issues:<self.tenant>:page:<filter>:<page>",
        invalidate_on = [IssueLists(self.tenant), FilteredIssues(self.tenant)]
    )]
    pub async fn page(&self, filter: Filter, page: u32) -> sqlx::Result<Vec<Issue>> {
        const ROWS: u32 = 4;
        sqlx::query_as(
            "SELECT * FROM issue WHERE tenant = ?1
             AND (?2 IS NULL OR project = ?2) AND (?3 IS NULL OR open = ?3)
             ORDER BY id LIMIT ?4 OFFSET ?5",
        )
        .bind(self.tenant)
        .bind(filter.project)
        .bind(filter.open)
        .bind(ROWS)
        .bind(i64::from(ROWS) * i64::from(page))
        .fetch_all(&self.pool)
        .await
    }

    #[cached(key = "issues:<self.tenant>:open:<project>")]
    pub async fn count_open(&self, project: ProjectId) -> sqlx::Result<i64> {
        sqlx::query_scalar("SELECT count(*) FROM issue WHERE tenant = ? AND project = ? AND open")
            .bind(self.tenant)
            .bind(project)
            .fetch_one(&self.pool)
            .await
    }
}
