//! Real transactions, committed and rolled back.

use std::sync::{Arc, Mutex};

use cache_runtime::{Cache, after_commit, cache_invalidate, cached};
use sqlx::{Sqlite, Transaction};
use tempfile::TempDir;

use crate::accounts::Accounts;

/// Account 1 has 100. What the cache did is noted.
struct Bank {
    accounts: Accounts,
    events: Arc<Mutex<Vec<String>>>,
    _folder: TempDir,
}

impl Bank {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let events = Arc::new(Mutex::new(Vec::new()));
        let noted = events.clone();
        let cache = Cache::builder()
            .on_event(move |event| noted.lock().unwrap().push(event.to_string()))
            .build()
            .unwrap();
        let accounts = Accounts::open(&folder.path().join("accounts.db"), cache)
            .await
            .unwrap();
        accounts.open_account(1, 100).await.unwrap();
        Self {
            accounts,
            events,
            _folder: folder,
        }
    }

    /// How often a function was reported.
    fn reports_of(&self, function: &str) -> usize {
        let events = self.events.lock().unwrap();
        let is_report =
            |event: &&String| event.starts_with("outside of commit ") && event.ends_with(function);
        events.iter().filter(is_report).count()
    }
}

/// A statement of another type than the annotated functions: it invalidates nothing.
async fn insert(tx: &mut Transaction<'_, Sqlite>, account: i64) {
    let insert = sqlx::query("INSERT INTO account VALUES (?, 7)").bind(account);
    insert.execute(&mut **tx).await.unwrap();
}

#[tokio::test]
async fn a_transfer_is_read_after_its_commit() {
    let bank = Bank::open().await;
    let accounts = &bank.accounts;
    accounts.open_account(2, 0).await.unwrap();
    assert_eq!(accounts.balance(1).await.unwrap(), Some(100));
    accounts.transfer(1, 2, 30).await.unwrap();
    assert_eq!(accounts.line().await.unwrap(), "Some(70) and Some(30)");
    accounts.transfer(1, 2, 1_000).await.unwrap_err();
    assert_eq!(accounts.line().await.unwrap(), "Some(70) and Some(30)");
    assert_eq!(bank.reports_of("::add"), 0);
}

#[tokio::test]
async fn a_row_that_is_rolled_back_is_served_to_no_caller() {
    let bank = Bank::open().await;
    let accounts = &bank.accounts;
    let scope = after_commit(async {
        let mut tx = accounts.pool.begin().await.unwrap();
        insert(&mut tx, 9).await;
        let inside = accounts.balance_within(&mut tx, 9).await.unwrap();
        assert_eq!(inside, Some(7));
        tx.rollback().await.unwrap();
        Err::<(), _>("rolled back")
    });
    scope.await.unwrap_err();
    assert_eq!(accounts.balance(9).await.unwrap(), None);
    assert_eq!(bank.reports_of("::balance_within"), 0);
}

#[tokio::test]
async fn what_is_read_through_a_transaction_is_not_cached_outside_of_a_scope_either() {
    let bank = Bank::open().await;
    let accounts = &bank.accounts;
    assert_eq!(accounts.balance(9).await.unwrap(), None);
    let mut tx = accounts.pool.begin().await.unwrap();
    insert(&mut tx, 9).await;
    for _ in 0..3 {
        let inside = accounts.balance_within(&mut tx, 9).await.unwrap();
        assert_eq!(inside, Some(7), "not the entry for the pool");
    }
    tx.rollback().await.unwrap();
    assert_eq!(accounts.balance(9).await.unwrap(), None);
    assert_eq!(bank.reports_of("::balance_within"), 1);
}

#[tokio::test]
async fn an_update_in_a_transaction_outside_of_a_scope_is_reported_once_and_repeated() {
    let bank = Bank::open().await;
    let accounts = &bank.accounts;
    let mut tx = accounts.pool.begin().await.unwrap();
    for _ in 0..3 {
        accounts.add(&mut tx, 1, 10).await.unwrap();
    }
    assert_eq!(
        accounts.cache.health().waiting,
        1,
        "to be invalidated after the commit too"
    );
    tx.commit().await.unwrap();
    assert_eq!(bank.reports_of("::add"), 1);
}

#[tokio::test]
async fn a_function_that_ends_its_transaction_needs_no_scope() {
    let bank = Bank::open().await;
    let accounts = &bank.accounts;
    let tx = accounts.pool.begin().await.unwrap();
    accounts.close_account(tx, 1).await.unwrap();
    assert_eq!(accounts.balance(1).await.unwrap(), None);
    assert_eq!(bank.reports_of("::close_account"), 0);
    assert_eq!(accounts.cache.health().waiting, 0);
}

/// A transaction that is taken and returned has not ended.
#[cache_invalidate("balance:<account>", cache = cache)]
async fn pass_on<'t>(
    cache: &Cache,
    tx: Transaction<'t, Sqlite>,
    account: i64,
) -> sqlx::Result<Transaction<'t, Sqlite>> {
    println!("changing {account}");
    Ok(tx)
}

/// As a type parameter, and behind a type that is not a reference.
#[cached(key = "generic:<account>", cache = cache, skip(cache, tx, T))]
async fn read<T: Send>(cache: &Cache, tx: Option<&mut T>, account: i64) -> i64 {
    assert!(tx.is_some());
    account
}

#[tokio::test]
async fn a_transaction_is_found_wherever_its_type_shows_it() {
    let bank = Bank::open().await;
    let (pool, cache) = (&bank.accounts.pool, &bank.accounts.cache);
    let tx = pool.begin().await.unwrap();
    let mut tx = pass_on(cache, tx, 1).await.unwrap();
    assert_eq!(bank.reports_of("::pass_on"), 1);
    for _ in 0..2 {
        assert_eq!(read(cache, Some(&mut tx), 7).await, 7);
        assert_eq!(cache.stats().entries, 0);
    }
    assert_eq!(bank.reports_of("::read"), 1);
    read(cache, Some(&mut pool.clone()), 7).await;
    assert_eq!(cache.stats().entries, 1, "a pool is none");
    assert_eq!(read(cache, Some(&mut tx), 7).await, 7);
    assert_eq!(cache.stats().hits, 0);
}
