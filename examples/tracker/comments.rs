//! The comments of an issue.

use cache_runtime::{cache_defaults, cache_invalidate, cached};
use sqlx::{Sqlite, Transaction};

use crate::entities::{Comment, CommentId, IssueId};
use crate::error::Error;
use crate::repository::Repository;

#[cache_defaults(cache = self.cache, ttl = "10m")]
impl Repository<Comment> {
    #[cached(key = "comments:<self.tenant>:<issue>")]
    pub async fn of(&self, issue: IssueId) -> sqlx::Result<Vec<Comment>> {
        sqlx::query_as("SELECT * FROM comment WHERE tenant = ? AND issue = ? ORDER BY id")
            .bind(self.tenant)
            .bind(issue)
            .fetch_all(&self.pool)
            .await
    }

    #[cache_invalidate(
        "<Self>:<self.tenant>:<result.id>",
        "<Self>:<self.tenant>:count",
        "comments:<self.tenant>:<issue>"
    )]
    pub async fn insert(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        issue: IssueId,
        text: &str,
    ) -> sqlx::Result<Comment> {
        sqlx::query_as("INSERT INTO comment (tenant, issue, text) VALUES (?, ?, ?) RETURNING *")
            .bind(self.tenant)
            .bind(issue)
            .bind(text)
            .fetch_one(&mut **tx)
            .await
    }

    /// A single statement commits by itself, and needs no scope. Its names are known before it: a
    /// caller that gives up after the commit has no result, and `<result.issue>` would name nothing.
    #[cache_invalidate(
        "<Self>:<self.tenant>:<comment.id>",
        "comments:<self.tenant>:<comment.issue>"
    )]
    pub async fn edit(&self, comment: &Comment, text: &str) -> sqlx::Result<()> {
        sqlx::query("UPDATE comment SET text = ? WHERE tenant = ? AND id = ?")
            .bind(text)
            .bind(self.tenant)
            .bind(comment.id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    #[cache_invalidate(
        "<Self>:<self.tenant>:<comment.id>",
        "<Self>:<self.tenant>:count",
        "comments:<self.tenant>:<comment.issue>"
    )]
    pub async fn delete(&self, comment: &Comment) -> sqlx::Result<()> {
        sqlx::query("DELETE FROM comment WHERE tenant = ? AND id = ?")
            .bind(self.tenant)
            .bind(comment.id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Deletes the comments of an issue.
    #[cache_invalidate("<Self>:<self.tenant>:count", "comments:<self.tenant>:<issue>")]
    pub async fn delete_all(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        issue: IssueId,
    ) -> Result<(), Error> {
        let ids = "SELECT id FROM comment WHERE tenant = ? AND issue = ?";
        let ids: Vec<CommentId> = sqlx::query_scalar(ids)
            .bind(self.tenant)
            .bind(issue)
            .fetch_all(&mut **tx)
            .await?;
        let due = self.invalidate_rows_on_drop(ids)?;
        sqlx::query("DELETE FROM comment WHERE tenant = ? AND issue = ?")
            .bind(self.tenant)
            .bind(issue)
            .execute(&mut **tx)
            .await?;
        Ok(due.invalidate().await?)
    }
}
