//! What all entities have in common. `<Self>` keeps the entries of their types apart.

use std::marker::PhantomData;

use cache_runtime::{Cache, cache_defaults, cached};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, SqlitePool};

use crate::entities::{Comment, Issue, Project, TenantId};

pub trait Entity:
    for<'r> FromRow<'r, SqliteRow>
    + Serialize
    + DeserializeOwned
    + Clone
    + Send
    + Sync
    + Unpin
    + 'static
{
    const BY_ID: &'static str;
    const COUNT: &'static str;
}

impl Entity for Project {
    const BY_ID: &'static str = "SELECT * FROM project WHERE tenant = ? AND id = ?";
    const COUNT: &'static str = "SELECT count(*) FROM project WHERE tenant = ?";
}

impl Entity for Issue {
    const BY_ID: &'static str = "SELECT * FROM issue WHERE tenant = ? AND id = ?";
    const COUNT: &'static str = "SELECT count(*) FROM issue WHERE tenant = ?";
}

impl Entity for Comment {
    const BY_ID: &'static str = "SELECT * FROM comment WHERE tenant = ? AND id = ?";
    const COUNT: &'static str = "SELECT count(*) FROM comment WHERE tenant = ?";
}

#[derive(Debug, Clone)]
pub struct Repository<T> {
    pub tenant: TenantId,
    pub pool: SqlitePool,
    pub cache: Cache,
    entity: PhantomData<fn() -> T>,
}

impl<T> Repository<T> {
    pub fn new(tenant: TenantId, pool: &SqlitePool, cache: &Cache) -> Self {
        Self {
            tenant,
            pool: pool.clone(),
            cache: cache.clone(),
            entity: PhantomData,
        }
    }
}

#[cache_defaults(cache = self.cache, ttl = "10m")]
impl<T: Entity> Repository<T> {
    /// One row. `None` is cached too: the function that inserts a row names it.
    #[cached(key = "<Self>:<self.tenant>:<id>", none_ttl = "1m")]
    pub async fn get(&self, id: i64) -> sqlx::Result<Option<T>> {
        sqlx::query_as(T::BY_ID)
            .bind(self.tenant)
            .bind(id)
            .fetch_optional(&self.pool)
            .await
    }

    #[cached(key = "<Self>:<self.tenant>:count")]
    pub async fn count(&self) -> sqlx::Result<i64> {
        sqlx::query_scalar(T::COUNT)
            .bind(self.tenant)
            .fetch_one(&self.pool)
            .await
    }
}
