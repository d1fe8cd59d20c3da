//! Projects, by id and by slug.

use cache_runtime::{cache_defaults, cache_invalidate, cached, prime};
use sqlx::{Sqlite, Transaction};

use crate::entities::Project;
use crate::error::Error;
use crate::repository::Repository;

#[cache_defaults(cache = self.cache, ttl = "10m")]
impl Repository<Project> {
    #[cached(key = "project:<self.tenant>:<slug>", none_ttl = "1m")]
    pub async fn by_slug(&self, slug: &str) -> sqlx::Result<Option<Project>> {
        sqlx::query_as("SELECT * FROM project WHERE tenant = ? AND slug = ?")
            .bind(self.tenant)
            .bind(slug)
            .fetch_optional(&self.pool)
            .await
    }

    #[cached(key = "projects:<self.tenant>")]
    pub async fn all(&self) -> sqlx::Result<Vec<Project>> {
        sqlx::query_as("SELECT * FROM project WHERE tenant = ? ORDER BY id")
            .bind(self.tenant)
            .fetch_all(&self.pool)
            .await
    }

    #[cache_invalidate(
        "<Self>:<self.tenant>:<result.id>",
        "<Self>:<self.tenant>:count",
        "project:<self.tenant>:<slug>",
        "projects:<self.tenant>"
    )]
    pub async fn insert(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        slug: &str,
    ) -> sqlx::Result<Project> {
        sqlx::query_as("INSERT INTO project (tenant, slug) VALUES (?, ?) RETURNING *")
            .bind(self.tenant)
            .bind(slug)
            .fetch_one(&mut **tx)
            .await
    }

    /// Both slugs are named: under the old one there is no project now.
    #[cache_invalidate(
        "<Self>:<self.tenant>:<old.id>",
        "project:<self.tenant>:<old.slug>",
        "project:<self.tenant>:<slug>",
        "projects:<self.tenant>"
    )]
    pub async fn rename(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        old: &Project,
        slug: &str,
    ) -> sqlx::Result<()> {
        sqlx::query("UPDATE project SET slug = ? WHERE tenant = ? AND id = ?")
            .bind(slug)
            .bind(self.tenant)
            .bind(old.id)
            .execute(&mut **tx)
            .await?;
        Ok(())
    }

    /// Deletes a project. The database refuses that while the project has issues.
    #[cache_invalidate(
        "<Self>:<self.tenant>:<project.id>",
        "<Self>:<self.tenant>:count",
        "project:<self.tenant>:<project.slug>",
        "projects:<self.tenant>"
    )]
    pub async fn delete(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        project: &Project,
    ) -> sqlx::Result<()> {
        sqlx::query("DELETE FROM project WHERE tenant = ? AND id = ?")
            .bind(self.tenant)
            .bind(project.id)
            .execute(&mut **tx)
            .await?;
        Ok(())
    }
}

impl Repository<Project> {
    /// Fills the cache by one query in the place of one for each project.
    ///
    /// For the start of a program, before it changes projects: `prime` stores what it is given, also
    /// if the row has changed since it was read.
    pub async fn warm(&self) -> Result<(), Error> {
        for project in self.all().await? {
            prime(self.by_slug(&project.slug), project.clone()).await?;
            prime(self.get(project.id), project).await?;
        }
        Ok(())
    }
}
