//! Repositories behind `#[async_trait]`, as trait objects and with the attributes in either order.

use std::sync::Arc;

use async_trait::async_trait;
use cache_runtime::{KeyPart, cache_invalidate, cached};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::stub::diesel::{self, AsyncPgConnection, Column, OptionalExtension, QueryResult, Table};
use super::stub::sea_orm::{ColumnTrait, ConnectionTrait, DatabaseConnection, DbErr, EntityTrait};
use super::stub::sqlx::{self, PgPool, Postgres, Transaction};
use super::{Rows, cache, is_cached_until};

diesel::table!(accounts { id, email });
super::stub::sea_orm::entity!(setting, { id Id: i32, name Name: String });

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KeyPart)]
struct OrderId(Uuid);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    id: OrderId,
    status: String,
}

// A trait object over sqlx, with the attribute on the method of the `impl`.

#[async_trait]
trait OrderRepository: Send + Sync {
    async fn find_by_id(&self, id: OrderId) -> Result<Option<Order>, sqlx::Error>;
    async fn set_status(&self, id: OrderId, status: &str) -> Result<Order, sqlx::Error>;
}

struct PgOrderRepository {
    pool: PgPool,
}

#[async_trait]
impl OrderRepository for PgOrderRepository {
    #[cached(key = "boxed:order:<id>", cache = cache())]
    async fn find_by_id(&self, id: OrderId) -> Result<Option<Order>, sqlx::Error> {
        sqlx::query_as("SELECT * FROM orders WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.pool)
            .await
    }

    #[cache_invalidate("boxed:order:<result.id>", cache = cache())]
    async fn set_status(&self, id: OrderId, status: &str) -> Result<Order, sqlx::Error> {
        if status.is_empty() {
            return Err(sqlx::Error::RowNotFound);
        }
        sqlx::query_as("UPDATE orders SET status = $1 WHERE id = $2 RETURNING *")
            .bind(status)
            .bind(id)
            .fetch_one(&self.pool)
            .await
    }
}

#[tokio::test]
async fn a_method_of_a_trait_object_is_cached() {
    let id = OrderId(Uuid::from_u128(1));
    let rows = Rows::default().with("orders", json!({ "id": id, "status": "new" }));
    let pool = PgPool::new(&rows);
    let orders: Arc<dyn OrderRepository> = Arc::new(PgOrderRepository { pool });
    let read = async || orders.find_by_id(id).await.unwrap();
    let update = async || {
        orders.set_status(id, "paid").await.unwrap();
    };
    is_cached_until(&rows, read, update).await;
}

// A generic trait over an executor that is borrowed for the call.

#[async_trait]
trait Repository<T, Id>: Send + Sync {
    async fn find(
        &self,
        executor: &mut Transaction<'_, Postgres>,
        id: &Id,
    ) -> Result<Option<T>, sqlx::Error>;
    async fn remove(
        &self,
        executor: &mut Transaction<'_, Postgres>,
        id: &Id,
    ) -> Result<bool, sqlx::Error>;
}

struct Orders;

#[async_trait]
impl Repository<Order, OrderId> for Orders {
    #[cached(key = "boxed:orders:<id>", none_ttl = 5, skip(executor), cache = cache())]
    async fn find(
        &self,
        executor: &mut Transaction<'_, Postgres>,
        id: &OrderId,
    ) -> Result<Option<Order>, sqlx::Error> {
        let query = sqlx::query_as("SELECT * FROM orders WHERE id = $1");
        query.bind(id).fetch_optional(&mut **executor).await
    }

    #[cache_invalidate("boxed:orders:<id>", cache = cache())]
    async fn remove(
        &self,
        executor: &mut Transaction<'_, Postgres>,
        id: &OrderId,
    ) -> Result<bool, sqlx::Error> {
        let query = sqlx::query("DELETE FROM orders WHERE id = $1");
        Ok(query.bind(id).execute(&mut **executor).await? > 0)
    }
}

#[tokio::test]
async fn a_method_of_a_generic_trait_is_cached() {
    let id = OrderId(Uuid::from_u128(2));
    let rows = Rows::default().with("orders", json!({ "id": id, "status": "new" }));
    let pool = PgPool::new(&rows);
    let mut transaction = pool.begin().await.unwrap();
    let read = async || Orders.find(&mut transaction, &id).await.unwrap();
    let update = async || {
        let mut transaction = pool.begin().await.unwrap();
        assert!(Orders.remove(&mut transaction, &id).await.unwrap());
        transaction.commit().await.unwrap();
    };
    is_cached_until(&rows, read, update).await;
}

// Default methods of the trait itself, over sea_orm.

#[async_trait]
trait Settings {
    type Connection: ConnectionTrait + Send + Sync;

    fn db(&self) -> &Self::Connection;

    #[cached(key = "boxed:setting:<name>", none_ttl = 5, cache = cache())]
    async fn setting(&self, name: &str) -> Result<Option<i32>, DbErr>
    where
        Self: Sync,
    {
        let setting = setting::Entity::find().filter(setting::Column::Name.eq(name));
        Ok(setting.one(self.db()).await?.map(|setting| setting.id))
    }

    #[cache_invalidate("boxed:setting:<name>", cache = cache())]
    async fn unset(&self, id: i32, name: &str) -> Result<u64, DbErr>
    where
        Self: Sync,
    {
        let deleted = setting::Entity::delete_by_id(id).exec(self.db()).await?;
        Ok(deleted.rows_affected)
    }
}

impl Settings for DatabaseConnection {
    type Connection = Self;

    fn db(&self) -> &Self {
        self
    }
}

#[tokio::test]
async fn a_default_method_is_cached() {
    let rows = Rows::default().with("setting", json!({ "id": 3, "name": "theme" }));
    let db = DatabaseConnection::new(&rows);
    let read = async || db.setting("theme").await.unwrap();
    let update = async || assert_eq!(db.unset(3, "theme").await, Ok(1));
    is_cached_until(&rows, read, update).await;
}

// Futures that are not `Send`, and a mutable receiver, over diesel_async.

#[async_trait(?Send)]
trait Accounts {
    async fn by_email(&mut self, email: &str) -> QueryResult<Option<i32>>;
    async fn set_email(&mut self, id: i32, email: String) -> QueryResult<()>;
}

#[derive(Deserialize)]
struct Account {
    id: i32,
}

#[async_trait(?Send)]
impl Accounts for AsyncPgConnection {
    #[cached(
        key = "boxed:account:<email.to_lowercase()>",
        none_ttl = 5,
        invalidate_on = "boxed:accounts",
        cache = cache()
    )]
    async fn by_email(&mut self, email: &str) -> QueryResult<Option<i32>> {
        let email = email.to_lowercase();
        let account = accounts::table.filter(accounts::email.eq(email));
        let account = account.first::<Account>(self).await.optional()?;
        Ok(account.map(|account| account.id))
    }

    #[cache_invalidate("boxed:accounts", cache = cache())]
    async fn set_email(&mut self, id: i32, email: String) -> QueryResult<()> {
        let account = accounts::table.filter(accounts::id.eq(id));
        let update = diesel::update(account).set(accounts::email.eq(email));
        update.execute(self).await?;
        Ok(())
    }
}

#[tokio::test]
async fn a_method_whose_future_is_not_send_is_cached() {
    let rows = Rows::default().with("accounts", json!({ "id": 4, "email": "a@example.com" }));
    let mut conn = AsyncPgConnection::new(&rows);
    let read = async || conn.by_email("A@example.com").await.unwrap();
    let update = async || {
        let mut conn = AsyncPgConnection::new(&rows);
        conn.set_email(4, "b@example.com".to_owned()).await.unwrap();
    };
    is_cached_until(&rows, read, update).await;
}
