//! Labels of issues: one change gives many labels to many issues.

use cache_runtime::{cache_defaults, cache_invalidate, cached};
use sqlx::{Sqlite, Transaction};

use crate::entities::{IssueId, Label};
use crate::repository::Repository;

#[cache_defaults(cache = self.cache, ttl = "10m")]
impl Repository<Label> {
    #[cached(key = "labels:<self.tenant>:<issue>")]
    pub async fn of(&self, issue: IssueId) -> sqlx::Result<Vec<Label>> {
        sqlx::query_as("SELECT name FROM label WHERE tenant = ? AND issue = ? ORDER BY name")
            .bind(self.tenant)
            .bind(issue)
            .fetch_all(&self.pool)
            .await
    }

    /// The issues with a label.
    #[cached(key = "labelled:<self.tenant>:<label>")]
    pub async fn issues(&self, label: &str) -> sqlx::Result<Vec<IssueId>> {
        sqlx::query_scalar("SELECT issue FROM label WHERE tenant = ? AND name = ? ORDER BY issue")
            .bind(self.tenant)
            .bind(label)
            .fetch_all(&self.pool)
            .await
    }

    /// Gives each of the labels to each of the issues.
    #[cache_invalidate(
        "labels:<self.tenant>:<issue>",
        "labelled:<self.tenant>:<label>",
        each(issue in issues, label in labels)
    )]
    pub async fn add(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        issues: &[IssueId],
        labels: &[&str],
    ) -> sqlx::Result<()> {
        for issue in issues {
            for label in labels {
                sqlx::query("INSERT OR IGNORE INTO label (tenant, issue, name) VALUES (?, ?, ?)")
                    .bind(self.tenant)
                    .bind(issue)
                    .bind(label)
                    .execute(&mut **tx)
                    .await?;
            }
        }
        Ok(())
    }

    /// Takes all labels from an issue, and returns them.
    #[cache_invalidate(
        "labels:<self.tenant>:<issue>",
        "labelled:<self.tenant>:<label.name>",
        each(label in result)
    )]
    pub async fn remove_all(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        issue: IssueId,
    ) -> sqlx::Result<Vec<Label>> {
        sqlx::query_as("DELETE FROM label WHERE tenant = ? AND issue = ? RETURNING name")
            .bind(self.tenant)
            .bind(issue)
            .fetch_all(&mut **tx)
            .await
    }
}
