//! The repository: ordinary functions over a database. Two of them are cached.

use cache_runtime::{Cache, cache_invalidate, cached};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, SqlitePool};

#[derive(Debug, Clone, PartialEq, Eq, FromRow, Serialize, Deserialize)]
pub struct Country {
    pub alpha2: String,
    pub alpha3: String,
    pub numeric: u16,
    pub name: String,
    pub subdivisions: u32,
}

#[derive(Debug, Clone)]
pub struct Countries {
    pub pool: SqlitePool,
    pub cache: Cache,
}

impl Countries {
    /// One country, by its two-letter code.
    #[cached(key = "country:<alpha2>", ttl = "10m", cache = self.cache)]
    pub async fn find(&self, alpha2: &str) -> sqlx::Result<Option<Country>> {
        sqlx::query_as(
            "SELECT *, (SELECT count(*) FROM subdivision WHERE country = alpha2) AS subdivisions
             FROM country WHERE alpha2 = ?",
        )
        .bind(alpha2)
        .fetch_optional(&self.pool)
        .await
    }

    /// The names that begin with a letter.
    #[cached(key = "names:<initial>", ttl = "10m", invalidate_on = "names", cache = self.cache)]
    pub async fn names(&self, initial: char) -> sqlx::Result<Vec<String>> {
        sqlx::query_scalar("SELECT name FROM country WHERE substr(name, 1, 1) = ? ORDER BY name")
            .bind(initial.to_string())
            .fetch_all(&self.pool)
            .await
    }

    /// Renames a country. Once this returns, no read yields its old name.
    #[cache_invalidate("country:<alpha2>", "names", cache = self.cache)]
    pub async fn rename(&self, alpha2: &str, name: &str) -> sqlx::Result<()> {
        sqlx::query("UPDATE country SET name = ? WHERE alpha2 = ?")
            .bind(name)
            .bind(alpha2)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
