//! Users, by id and by login.

use cache_runtime::{cache_defaults, cache_invalidate, cached};
use sqlx::{Sqlite, Transaction};

use crate::entities::User;
use crate::repository::Repository;

#[cache_defaults(cache = self.cache, ttl = "10m")]
impl Repository<User> {
    #[cached(key = "user:<self.tenant>:<login>", none_ttl = "1m")]
    pub async fn by_login(&self, login: &str) -> sqlx::Result<Option<User>> {
        sqlx::query_as("SELECT * FROM user WHERE tenant = ? AND login = ?")
            .bind(self.tenant)
            .bind(login)
            .fetch_optional(&self.pool)
            .await
    }

    #[cached(key = "users:<self.tenant>")]
    pub async fn all(&self) -> sqlx::Result<Vec<User>> {
        sqlx::query_as("SELECT * FROM user WHERE tenant = ? ORDER BY id")
            .bind(self.tenant)
            .fetch_all(&self.pool)
            .await
    }

    #[cache_invalidate(
        "<Self>:<self.tenant>:<result.id>",
        "<Self>:<self.tenant>:count",
        "user:<self.tenant>:<login>",
        "users:<self.tenant>"
    )]
    pub async fn insert(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        login: &str,
    ) -> sqlx::Result<User> {
        sqlx::query_as("INSERT INTO user (tenant, login) VALUES (?, ?) RETURNING *")
            .bind(self.tenant)
            .bind(login)
            .fetch_one(&mut **tx)
            .await
    }

    /// Both logins are named: under the old one there is no user now.
    #[cache_invalidate(
        "<Self>:<self.tenant>:<old.id>",
        "user:<self.tenant>:<old.login>",
        "user:<self.tenant>:<login>",
        "users:<self.tenant>"
    )]
    pub async fn rename(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        old: &User,
        login: &str,
    ) -> sqlx::Result<()> {
        sqlx::query("UPDATE user SET login = ? WHERE tenant = ? AND id = ?")
            .bind(login)
            .bind(self.tenant)
            .bind(old.id)
            .execute(&mut **tx)
            .await?;
        Ok(())
    }

    /// Deletes a user that has no issues: see `Tracker::delete_user`.
    #[cache_invalidate(
        "<Self>:<self.tenant>:<user.id>",
        "<Self>:<self.tenant>:count",
        "user:<self.tenant>:<user.login>",
        "users:<self.tenant>"
    )]
    pub async fn delete(&self, tx: &mut Transaction<'_, Sqlite>, user: &User) -> sqlx::Result<()> {
        sqlx::query("DELETE FROM user WHERE tenant = ? AND id = ?")
            .bind(self.tenant)
            .bind(user.id)
            .execute(&mut **tx)
            .await?;
        Ok(())
    }
}
