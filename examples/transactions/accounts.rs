//! Accounts in a database, with their balances cached.

use std::path::Path;

use cache_runtime::{Cache, after_commit, cache_defaults, cache_invalidate, cached};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};

pub struct Accounts {
    pub pool: SqlitePool,
    pub cache: Cache,
}

/// The query, through a connection of the pool or through a transaction. It is not cached itself.
async fn query_balance(
    connection: &mut SqliteConnection,
    account: i64,
) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar("SELECT balance FROM account WHERE id = ?")
        .bind(account)
        .fetch_optional(connection)
        .await
}

impl Accounts {
    pub async fn open(file: &Path, cache: Cache) -> sqlx::Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true);
        let pool = SqlitePool::connect_with(options).await?;
        sqlx::raw_sql("CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL CHECK (balance >= 0))")
            .execute(&pool)
            .await?;
        Ok(Self { pool, cache })
    }

    /// Moves money, all of it or nothing. The scope ends with the commit: then the balances of both
    /// accounts are invalidated.
    pub async fn transfer(&self, from: i64, to: i64, amount: i64) -> sqlx::Result<()> {
        after_commit(async {
            let mut tx = self.pool.begin().await?;
            self.add(&mut tx, to, amount).await?;
            self.add(&mut tx, from, -amount).await?;
            tx.commit().await
        })
        .await
    }

    pub async fn line(&self) -> sqlx::Result<String> {
        let (one, two) = (self.balance(1).await?, self.balance(2).await?);
        Ok(format!("{one:?} and {two:?}"))
    }
}

#[cache_defaults(cache = self.cache)]
impl Accounts {
    /// A cached function reads through the pool, and so only what is committed.
    #[cached(key = "balance:<account>", ttl = 60, none_ttl = 60)]
    pub async fn balance(&self, account: i64) -> sqlx::Result<Option<i64>> {
        let mut connection = self.pool.acquire().await?;
        query_balance(&mut connection, account).await
    }

    /// This one reads through a transaction, so its value is never stored.
    #[cached(key = "balance:<account>", ttl = 60, none_ttl = 60, skip(tx))]
    pub async fn balance_within(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        account: i64,
    ) -> sqlx::Result<Option<i64>> {
        query_balance(tx, account).await
    }

    /// Changes a balance within a transaction, whose commit comes later: to be called within
    /// `after_commit`.
    #[cache_invalidate("balance:<account>")]
    pub async fn add(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        account: i64,
        amount: i64,
    ) -> sqlx::Result<()> {
        sqlx::query("UPDATE account SET balance = balance + ? WHERE id = ?")
            .bind(amount)
            .bind(account)
            .execute(&mut **tx)
            .await?;
        Ok(())
    }

    /// A single statement commits by itself, and needs no scope.
    #[cache_invalidate("balance:<account>")]
    pub async fn open_account(&self, account: i64, balance: i64) -> sqlx::Result<()> {
        sqlx::query("INSERT INTO account VALUES (?, ?)")
            .bind(account)
            .bind(balance)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Takes the transaction and ends it, so it needs no scope either.
    #[cache_invalidate("balance:<account>")]
    pub async fn close_account(
        &self,
        mut tx: Transaction<'_, Sqlite>,
        account: i64,
    ) -> sqlx::Result<()> {
        sqlx::query("DELETE FROM account WHERE id = ?")
            .bind(account)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }
}
