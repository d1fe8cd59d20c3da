//! What changes issues: each change names what it replaces, and what it makes.

use cache_runtime::{cache_defaults, cache_invalidate};
use sqlx::{Sqlite, Transaction};

use crate::entities::{Issue, IssueId, NewIssue, ProjectId, UserId};
use crate::issues::{FilteredIssues, IssueLists};
use crate::repository::Repository;

/// Changes of one issue. They name the lists that it is in.
#[cache_defaults(cache = self.cache)]
impl Repository<Issue> {
    #[cache_invalidate(
        "<Self>:<self.tenant>:<result.id>",
        "<Self>:<self.tenant>:count",
        "issues:<self.tenant>:assignee:<result.assignee>",
        "issues:<self.tenant>:project:<result.project>",
        "issues:<self.tenant>:parent:<result.parent>",
        "issues:<self.tenant>:open:<result.project>",
        FilteredIssues(self.tenant)
    )]
    pub async fn insert(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        issue: &NewIssue,
    ) -> sqlx::Result<Issue> {
        sqlx::query_as(
            "INSERT INTO issue (tenant, project, assignee, parent, title)
             VALUES (?, ?, ?, ?, ?) RETURNING *",
        )
        .bind(self.tenant)
        .bind(issue.project)
        .bind(issue.assignee)
        .bind(issue.parent)
        .bind(&issue.title)
        .fetch_one(&mut **tx)
        .await
    }

    /// Makes the issue `old` what `new` is: its title, state, project, assignee or parent.
    /// `old` was read in the same transaction, else its lists may be others by now.
    #[cache_invalidate(
        "<Self>:<self.tenant>:<old.id>",
        "issues:<self.tenant>:assignee:<old.assignee>",
        "issues:<self.tenant>:assignee:<result.assignee>",
        "issues:<self.tenant>:project:<old.project>",
        "issues:<self.tenant>:project:<result.project>",
        "issues:<self.tenant>:parent:<old.parent>",
        "issues:<self.tenant>:parent:<result.parent>",
        "issues:<self.tenant>:open:<old.project>",
        "issues:<self.tenant>:open:<result.project>",
        FilteredIssues(self.tenant)
    )]
    pub async fn update(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        old: &Issue,
        new: &Issue,
    ) -> sqlx::Result<Issue> {
        sqlx::query_as(
            "UPDATE issue SET project = ?, assignee = ?, parent = ?, title = ?, open = ?
             WHERE tenant = ? AND id = ? RETURNING *",
        )
        .bind(new.project)
        .bind(new.assignee)
        .bind(new.parent)
        .bind(&new.title)
        .bind(new.open)
        .bind(self.tenant)
        .bind(old.id)
        .fetch_one(&mut **tx)
        .await
    }

    /// Deletes an issue that has neither comments nor sub-issues: see `Tracker::delete_issue`.
    #[cache_invalidate(
        "<Self>:<self.tenant>:<issue.id>",
        "<Self>:<self.tenant>:count",
        "issues:<self.tenant>:assignee:<issue.assignee>",
        "issues:<self.tenant>:project:<issue.project>",
        "issues:<self.tenant>:parent:<issue.parent>",
        "issues:<self.tenant>:open:<issue.project>",
        FilteredIssues(self.tenant)
    )]
    pub async fn delete(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        issue: &Issue,
    ) -> sqlx::Result<()> {
        sqlx::query("DELETE FROM issue WHERE tenant = ? AND id = ?")
            .bind(self.tenant)
            .bind(issue.id)
            .execute(&mut **tx)
            .await?;
        Ok(())
    }
}

/// Changes of many issues. They name the rows that they return, and all lists by a tag.
#[cache_defaults(cache = self.cache)]
impl Repository<Issue> {
    /// Closes all issues of a project, and returns those that were open.
    #[cache_invalidate(
        "<Self>:<self.tenant>:<issue.id>",
        "issues:<self.tenant>:open:<project>",
        IssueLists(self.tenant),
        each(issue in result)
    )]
    pub async fn close_all(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        project: ProjectId,
    ) -> sqlx::Result<Vec<Issue>> {
        sqlx::query_as(
            "UPDATE issue SET open = FALSE WHERE tenant = ? AND project = ? AND open RETURNING *",
        )
        .bind(self.tenant)
        .bind(project)
        .fetch_all(&mut **tx)
        .await
    }

    /// Takes a user's issues from the user, and returns them.
    #[cache_invalidate(
        "<Self>:<self.tenant>:<issue.id>",
        IssueLists(self.tenant),
        each(issue in result)
    )]
    pub async fn unassign_all(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        assignee: UserId,
    ) -> sqlx::Result<Vec<Issue>> {
        sqlx::query_as(
            "UPDATE issue SET assignee = NULL WHERE tenant = ? AND assignee = ? RETURNING *",
        )
        .bind(self.tenant)
        .bind(assignee)
        .fetch_all(&mut **tx)
        .await
    }

    /// Takes an issue's sub-issues from it, and returns them.
    #[cache_invalidate(
        "<Self>:<self.tenant>:<issue.id>",
        IssueLists(self.tenant),
        each(issue in result)
    )]
    pub async fn orphan_all(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        parent: IssueId,
    ) -> sqlx::Result<Vec<Issue>> {
        sqlx::query_as("UPDATE issue SET parent = NULL WHERE tenant = ? AND parent = ? RETURNING *")
            .bind(self.tenant)
            .bind(parent)
            .fetch_all(&mut **tx)
            .await
    }
}
