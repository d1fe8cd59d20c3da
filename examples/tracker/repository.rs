//! What all tables have in common. `<Self>` in a key keeps the entries of their types apart.

use std::marker::PhantomData;

use cache_runtime::{
    Cache, CacheValue, CachedEntry, InvalidateOnDrop, KeyPart, cache_defaults, cached, key_name,
};
use sqlx::sqlite::SqliteRow;
use sqlx::{Encode, FromRow, Sqlite, SqliteConnection, SqlitePool, Type};

use crate::entities::{
    Comment, CommentId, Issue, IssueId, Project, ProjectId, TenantId, User, UserId,
};
use crate::error::Error;

/// A row of a table.
pub trait Entity: for<'r> FromRow<'r, SqliteRow> + CacheValue + Unpin {
    type Id: KeyPart + for<'q> Encode<'q, Sqlite> + Type<Sqlite> + Copy + Send + Sync + 'static;
    const BY_ID: &'static str;
    const COUNT: &'static str;
}

macro_rules! entities {
    ($($entity:ident, $id:ident, $table:literal;)*) => {$(
        impl Entity for $entity {
            type Id = $id;
            const BY_ID: &'static str =
                concat!("SELECT * FROM ", $table, " WHERE tenant = ? AND id = ?");
            const COUNT: &'static str =
                concat!("SELECT count(*) FROM ", $table, " WHERE tenant = ?");
        }
    )*};
}

entities! {
    User, UserId, "user";
    Project, ProjectId, "project";
    Issue, IssueId, "issue";
    Comment, CommentId, "comment";
}

/// The rows of one table that belong to one tenant.
#[key_name("rows")]
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
    /// One row. That there is none is cached too: what inserts a row names its id.
    #[cached(key = "<Self>:<self.tenant>:<id>", none_ttl = "1m")]
    pub async fn get(&self, id: T::Id) -> sqlx::Result<Option<T>> {
        self.query(&mut *self.pool.acquire().await?, id).await
    }

    #[cached(key = "<Self>:<self.tenant>:count")]
    pub async fn count(&self) -> sqlx::Result<i64> {
        sqlx::query_scalar(T::COUNT)
            .bind(self.tenant)
            .fetch_one(&self.pool)
            .await
    }
}

impl<T: Entity> Repository<T> {
    /// The row as a transaction sees it. It is not cached, and names what a change replaces.
    pub async fn current(&self, tx: &mut SqliteConnection, id: T::Id) -> Result<T, Error> {
        self.query(tx, id).await?.ok_or(Error::NotFound)
    }

    async fn query(&self, connection: &mut SqliteConnection, id: T::Id) -> sqlx::Result<Option<T>> {
        sqlx::query_as(T::BY_ID)
            .bind(self.tenant)
            .bind(id)
            .fetch_optional(connection)
            .await
    }

    /// Takes over the invalidation of rows that only the body of a function knows.
    pub fn invalidate_rows_on_drop(
        &self,
        ids: impl IntoIterator<Item = T::Id>,
    ) -> Result<InvalidateOnDrop, cache_runtime::Error> {
        let mut due = self.cache.invalidate_on_drop([] as [&str; 0]);
        for id in ids {
            due.add([CachedEntry::of(self.get(id))?.key().clone()]);
        }
        Ok(due)
    }
}
