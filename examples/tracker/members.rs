//! Which users may edit the issues of a project.

use cache_runtime::{cache_defaults, cache_invalidate, cached};
use sqlx::{Sqlite, Transaction};

use crate::entities::{Member, ProjectId, UserId};
use crate::repository::Repository;

#[cache_defaults(cache = self.cache, ttl = "10m")]
impl Repository<Member> {
    /// Asked before each change. A permission that is taken away is gone at once, in all processes.
    #[cached(key = "may-edit:<self.tenant>:<project>:<user>")]
    pub async fn may_edit(&self, project: ProjectId, user: UserId) -> sqlx::Result<bool> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM member WHERE tenant = ? AND project = ? AND user = ?)",
        )
        .bind(self.tenant)
        .bind(project)
        .bind(user)
        .fetch_one(&self.pool)
        .await
    }

    #[cache_invalidate("may-edit:<self.tenant>:<project>:<user>")]
    pub async fn grant(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        project: ProjectId,
        user: UserId,
    ) -> sqlx::Result<()> {
        sqlx::query("INSERT OR IGNORE INTO member (tenant, project, user) VALUES (?, ?, ?)")
            .bind(self.tenant)
            .bind(project)
            .bind(user)
            .execute(&mut **tx)
            .await?;
        Ok(())
    }

    /// Takes the permissions for a project from all users, and returns whose they were.
    #[cache_invalidate(
        "may-edit:<self.tenant>:<project>:<member.user>",
        each(member in result)
    )]
    pub async fn revoke_project(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        project: ProjectId,
    ) -> sqlx::Result<Vec<Member>> {
        sqlx::query_as("DELETE FROM member WHERE tenant = ? AND project = ? RETURNING *")
            .bind(self.tenant)
            .bind(project)
            .fetch_all(&mut **tx)
            .await
    }

    /// Takes all permissions from a user, and returns what they were for.
    #[cache_invalidate("may-edit:<self.tenant>:<member.project>:<user>", each(member in result))]
    pub async fn revoke_user(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        user: UserId,
    ) -> sqlx::Result<Vec<Member>> {
        sqlx::query_as("DELETE FROM member WHERE tenant = ? AND user = ? RETURNING *")
            .bind(self.tenant)
            .bind(user)
            .fetch_all(&mut **tx)
            .await
    }
}
