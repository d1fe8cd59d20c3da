//! A scope that ends with a commit: its invalidations come after that, and within it nothing
//! is read that it replaced, nor stored that it may take back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cache_runtime::{Cache, Options, after_commit, cache_invalidate, cached};
use cache_tests::RedisServer;
use tokio::sync::Semaphore;

use crate::behaviour::{builder, on_both_tiers};
use crate::gated::LIMIT;

on_both_tiers! {
    what_changes_within_is_invalidated_after_the_commit
    others_are_served_until_the_commit
    reads_within_are_not_served_what_is_replaced_nor_stored
    reads_in_the_body_of_a_function_are_not_stored
    names_that_nobody_changes_are_cached_within
    a_load_that_began_within_is_not_stored_once_its_name_is_held
    those_who_wait_for_a_load_within_load_for_themselves
    by_hand_it_is_the_same
    what_is_set_within_is_not_stored
    a_scope_within_a_scope_passes_its_names_on
    a_scope_that_is_dropped_invalidates
    a_scope_that_panics_invalidates
    a_function_that_is_dropped_within_is_invalidated_at_the_end
    a_scope_of_an_error_invalidates
    what_a_function_leaves_out_is_left_out
    a_spawned_task_is_not_within
    another_scope_of_the_same_task_is_another
    a_fence_is_left_at_the_end_of_the_scope
    a_fence_of_a_scope_that_is_dropped_expires
}

/// A row with a value in the database, and one in the transaction.
#[derive(Debug)]
struct Row {
    cache: Cache,
    committed: AtomicU64,
    pending: AtomicU64,
    loads: AtomicU64,
    load_began: Semaphore,
    gate: Semaphore,
}

impl Row {
    fn new(cache: Cache) -> Arc<Self> {
        Arc::new(Self {
            cache,
            committed: AtomicU64::new(1),
            pending: AtomicU64::new(1),
            loads: AtomicU64::new(0),
            load_began: Semaphore::new(0),
            gate: Semaphore::new(0),
        })
    }

    fn load(&self, from: &AtomicU64) -> u64 {
        self.loads.fetch_add(1, Ordering::SeqCst);
        from.load(Ordering::SeqCst)
    }

    /// As everybody else reads it.
    #[cached(key = "row", ttl = 60, invalidate_on = "rows", cache = self.cache)]
    async fn read(&self) -> u64 {
        self.load(&self.committed)
    }

    /// The same entry, through the transaction.
    #[cached(key = "row", ttl = 60, invalidate_on = "rows", cache = self.cache)]
    async fn read_in_tx(&self) -> u64 {
        self.load(&self.pending)
    }

    /// The same, with a load that ends when the test says so.
    #[cached(key = "row", ttl = 60, invalidate_on = "rows", cache = self.cache)]
    async fn read_slowly(&self) -> u64 {
        let value = self.load(&self.pending);
        self.load_began.add_permits(1);
        self.gate.acquire().await.unwrap().forget();
        value
    }

    #[cached(key = "another", ttl = 60, cache = self.cache)]
    async fn another(&self) -> u64 {
        self.load(&self.committed)
    }

    #[cache_invalidate("row", cache = self.cache)]
    async fn write(&self, value: u64) {
        self.pending.store(value, Ordering::SeqCst);
    }

    #[cache_invalidate("rows", cache = self.cache)]
    async fn write_all(&self, value: u64) {
        self.pending.store(value, Ordering::SeqCst);
    }

    #[cache_invalidate("row", fence = "10m", cache = self.cache)]
    async fn write_behind_a_fence(&self, value: u64) {
        self.pending.store(value, Ordering::SeqCst);
    }

    #[cache_invalidate("row", cache = self.cache)]
    async fn write_and_read(&self, value: u64) -> u64 {
        self.pending.store(value, Ordering::SeqCst);
        self.read_in_tx().await
    }

    #[cache_invalidate("row", cache = self.cache)]
    async fn write_for_ever(&self, value: u64) {
        self.pending.store(value, Ordering::SeqCst);
        std::future::pending::<()>().await;
    }

    #[cache_invalidate("row", on = ok, cache = self.cache)]
    async fn write_nothing(&self) -> Result<(), &'static str> {
        Err("no")
    }

    fn commit(&self) {
        let value = self.pending.load(Ordering::SeqCst);
        self.committed.store(value, Ordering::SeqCst);
    }

    fn loads(&self) -> u64 {
        self.loads.load(Ordering::SeqCst)
    }

    /// What somebody else reads, in a task of their own.
    async fn others_read(self: &Arc<Self>) -> u64 {
        let row = self.clone();
        tokio::spawn(async move { row.read().await }).await.unwrap()
    }

    /// What somebody else reads, once what goes on in the background is done.
    async fn others_read_soon(self: &Arc<Self>, expected: u64) {
        let deadline = tokio::time::Instant::now() + LIMIT;
        loop {
            let read = self.others_read().await;
            if read == expected {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "still {read}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn is_cached(self: &Arc<Self>) -> bool {
        let cache = self.cache.clone();
        let exists = tokio::spawn(async move { cache.exists("row").await });
        exists.await.unwrap().unwrap()
    }
}

async fn what_changes_within_is_invalidated_after_the_commit(cache: Cache) {
    for by_tag in [false, true] {
        let row = Row::new(cache.clone());
        assert_eq!(row.read().await, 1);
        let returned = after_commit(async {
            if by_tag {
                row.write_all(2).await;
            } else {
                row.write(2).await;
            }
            // Old rows, stored again: they are all that others can see.
            assert_eq!(row.others_read().await, 1);
            row.commit();
            "done"
        })
        .await;
        assert_eq!(returned, "done");
        assert_eq!(row.read().await, 2);
        cache.clear().await.unwrap();
    }
}

async fn others_are_served_until_the_commit(cache: Cache) {
    let row = Row::new(cache);
    assert_eq!(row.read().await, 1);
    after_commit(async {
        row.write(2).await;
        for _ in 0..3 {
            assert_eq!(row.others_read().await, 1);
        }
        assert_eq!(row.loads(), 1, "from the cache");
        row.commit();
    })
    .await;
    assert_eq!(row.others_read().await, 2);
}

async fn reads_within_are_not_served_what_is_replaced_nor_stored(cache: Cache) {
    for by_tag in [false, true] {
        let row = Row::new(cache.clone());
        assert_eq!(row.read().await, 1);
        after_commit(async {
            assert_eq!(row.read_in_tx().await, 1);
            assert_eq!(row.loads(), 1, "nothing has changed yet");
            if by_tag {
                row.write_all(2).await;
            } else {
                row.write(2).await;
            }
            for _ in 0..2 {
                assert_eq!(row.read_in_tx().await, 2);
            }
            assert_eq!(row.loads(), 3);
            assert_eq!(row.others_read().await, 1, "not what may be rolled back");
        })
        .await;
        assert_eq!(row.read().await, 1, "it was rolled back");
        cache.clear().await.unwrap();
    }
}

async fn reads_in_the_body_of_a_function_are_not_stored(cache: Cache) {
    let row = Row::new(cache);
    after_commit(async {
        assert_eq!(row.write_and_read(2).await, 2);
        assert!(!row.is_cached().await);
    })
    .await;
    assert_eq!(row.others_read().await, 1);
}

async fn names_that_nobody_changes_are_cached_within(cache: Cache) {
    let row = Row::new(cache);
    after_commit(async {
        row.write(2).await;
        for _ in 0..3 {
            assert_eq!(row.another().await, 1);
        }
    })
    .await;
    assert_eq!(row.another().await, 1);
    assert_eq!(row.loads(), 1);
}

/// It reads what is not committed, however early it began.
async fn a_load_that_began_within_is_not_stored_once_its_name_is_held(cache: Cache) {
    let row = Row::new(cache);
    row.pending.store(2, Ordering::SeqCst);
    after_commit(async {
        let write = async {
            row.load_began.acquire().await.unwrap().forget();
            row.write(2).await;
            row.gate.add_permits(1);
        };
        let (read, ()) = tokio::join!(row.read_slowly(), write);
        assert_eq!(read, 2);
        assert!(!row.is_cached().await);
    })
    .await;
}

async fn those_who_wait_for_a_load_within_load_for_themselves(cache: Cache) {
    let row = Row::new(cache);
    row.pending.store(2, Ordering::SeqCst);
    let mut other = None;
    after_commit(async {
        let write = async {
            row.load_began.acquire().await.unwrap().forget();
            let it = row.clone();
            other = Some(tokio::spawn(async move { it.read().await }));
            tokio::time::sleep(Duration::from_millis(50)).await;
            row.write(2).await;
            row.gate.add_permits(1);
        };
        tokio::join!(row.read_slowly(), write);
    })
    .await;
    let other = other.unwrap().await.unwrap();
    assert_eq!(other, 1, "what is committed");
}

async fn by_hand_it_is_the_same(cache: Cache) {
    let options = || Options::new().tag("tag");
    cache.set("key", &1, options()).await.unwrap();
    cache.set("tagged", &1, options()).await.unwrap();
    after_commit(async {
        cache.invalidate(["key"]).await.unwrap();
        assert_eq!(cache.get::<i32>("key").await.unwrap(), None);
        assert!(!cache.exists("key").await.unwrap());
        assert_eq!(cache.ttl("key").await.unwrap(), None);
        assert_eq!(cache.get("tagged").await.unwrap(), Some(1));
        cache.invalidate(["tag"]).await.unwrap();
        assert_eq!(cache.get::<i32>("tagged").await.unwrap(), None);
        let load = async { Ok::<_, ()>(2) };
        assert_eq!(cache.get_or_load("key", options(), load).await, Ok(2));
        let theirs = cache.clone();
        let theirs = tokio::spawn(async move { theirs.get::<i32>("key").await.unwrap() });
        assert_eq!(theirs.await.unwrap(), Some(1));
    })
    .await;
    assert_eq!(cache.get::<i32>("key").await.unwrap(), None);
    assert_eq!(cache.get::<i32>("tagged").await.unwrap(), None);
}

async fn what_is_set_within_is_not_stored(cache: Cache) {
    cache.set("key", &1, Options::new()).await.unwrap();
    cache.set("page", &1, Options::new()).await.unwrap();
    after_commit(async {
        cache.invalidate(["key", "tag"]).await.unwrap();
        cache.set("key", &2, Options::new()).await.unwrap();
        let tagged = Options::new().tag("tag");
        cache.set("page", &2, tagged).await.unwrap();
        let theirs = cache.clone();
        let theirs = tokio::spawn(async move { theirs.get::<i32>("page").await.unwrap() });
        assert_eq!(theirs.await.unwrap(), Some(1));
    })
    .await;
    assert_eq!(cache.get::<i32>("key").await.unwrap(), None);
    assert_eq!(
        cache.get::<i32>("page").await.unwrap(),
        None,
        "it was set to something else"
    );
}

async fn a_scope_within_a_scope_passes_its_names_on(cache: Cache) {
    let row = Row::new(cache);
    assert_eq!(row.read().await, 1);
    after_commit(async {
        after_commit(row.write(2)).await;
        assert!(row.is_cached().await);
        assert_eq!(row.read_in_tx().await, 2);
        row.commit();
    })
    .await;
    assert_eq!(row.read().await, 2);
}

async fn a_scope_that_is_dropped_invalidates(cache: Cache) {
    let row = Row::new(cache);
    assert_eq!(row.read().await, 1);
    let (it, written) = (row.clone(), Arc::new(Semaphore::new(0)));
    let has_written = written.clone();
    let scope = tokio::spawn(after_commit(async move {
        it.write(2).await;
        it.commit();
        has_written.add_permits(1);
        std::future::pending::<()>().await;
    }));
    written.acquire().await.unwrap().forget();
    assert_eq!(row.others_read().await, 1);
    scope.abort();
    assert!(scope.await.unwrap_err().is_cancelled());
    row.others_read_soon(2).await;
}

async fn a_scope_that_panics_invalidates(cache: Cache) {
    let row = Row::new(cache);
    assert_eq!(row.read().await, 1);
    let it = row.clone();
    let scope = tokio::spawn(after_commit(async move {
        it.write(2).await;
        it.commit();
        panic!("after the commit");
    }));
    assert!(scope.await.unwrap_err().is_panic());
    row.others_read_soon(2).await;
    assert_eq!(row.read().await, 2, "this thread is in no scope any more");
}

async fn a_function_that_is_dropped_within_is_invalidated_at_the_end(cache: Cache) {
    let row = Row::new(cache);
    assert_eq!(row.read().await, 1);
    after_commit(async {
        tokio::select! {
            biased;
            () = row.write_for_ever(2) => unreachable!(),
            () = tokio::task::yield_now() => {}
        }
        assert!(row.is_cached().await);
        assert_eq!(row.read_in_tx().await, 2);
        row.commit();
    })
    .await;
    assert_eq!(row.read().await, 2);
}

async fn a_scope_of_an_error_invalidates(cache: Cache) {
    let row = Row::new(cache);
    assert_eq!(row.read().await, 1);
    let returned = after_commit(async {
        row.write(2).await;
        row.commit();
        Err::<(), _>("after the commit")
    });
    returned.await.unwrap_err();
    assert_eq!(row.read().await, 2);
}

async fn what_a_function_leaves_out_is_left_out(cache: Cache) {
    let row = Row::new(cache);
    assert_eq!(row.read().await, 1);
    after_commit(row.write_nothing()).await.unwrap_err();
    assert_eq!(row.read().await, 1);
    assert_eq!(row.loads(), 1);
}

async fn a_spawned_task_is_not_within(cache: Cache) {
    let row = Row::new(cache);
    assert_eq!(row.read().await, 1);
    after_commit(async {
        let it = row.clone();
        tokio::spawn(async move { it.write(2).await })
            .await
            .unwrap();
        assert!(!row.is_cached().await);
    })
    .await;
}

async fn another_scope_of_the_same_task_is_another(cache: Cache) {
    let row = Row::new(cache);
    assert_eq!(row.read().await, 1);
    let gate = Semaphore::new(0);
    let one = after_commit(async {
        row.write(2).await;
        gate.acquire().await.unwrap().forget();
        row.commit();
    });
    let two = async {
        after_commit(async {
            tokio::task::yield_now().await;
            assert_eq!(row.read_in_tx().await, 1, "from the cache");
        })
        .await;
        assert!(row.is_cached().await);
        gate.add_permits(1);
    };
    tokio::join!(one, two);
    assert_eq!(row.read().await, 2);
}

async fn a_fence_is_left_at_the_end_of_the_scope(cache: Cache) {
    let row = Row::new(cache);
    assert_eq!(row.read().await, 1);
    after_commit(async {
        row.write_behind_a_fence(2).await;
        assert_eq!(row.others_read().await, 1);
        assert!(!row.is_cached().await, "the fence stands until the commit");
        row.commit();
    })
    .await;
    assert_eq!(row.read().await, 2);
    assert!(row.is_cached().await);
}

async fn a_fence_of_a_scope_that_is_dropped_expires(cache: Cache) {
    let row = Row::new(cache);
    {
        let mut scope = std::pin::pin!(after_commit(async {
            row.write_behind_a_fence(2).await;
            std::future::pending::<()>().await;
        }));
        let limit = Duration::from_millis(100);
        tokio::time::timeout(limit, scope.as_mut())
            .await
            .unwrap_err();
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(row.others_read().await, 1);
    assert!(!row.is_cached().await, "the commit may be under way");
}

/// The commit's own error may come before the commit.
#[tokio::test]
async fn a_commit_that_comes_after_the_scope_is_invalidated_too() {
    let settle = Duration::from_millis(100);
    let cache = builder().url("memory:").settle(settle).build().unwrap();
    let row = Row::new(cache);
    let scope = after_commit(async {
        row.write(2).await;
        Err::<(), _>("the connection broke")
    });
    scope.await.unwrap_err();
    assert_eq!(row.others_read().await, 1);
    row.commit();
    row.others_read_soon(2).await;
}

/// All at once, and each name once.
#[tokio::test]
async fn a_scope_invalidates_in_one_go() {
    let server = RedisServer::start();
    let row = Row::new(builder().url(server.url()).build().unwrap());
    row.read().await;
    let before = server.calls("eval");
    after_commit(async {
        for value in 0..10 {
            row.write(value).await;
            row.write_all(value).await;
        }
        assert_eq!(server.calls("eval"), before);
    })
    .await;
    assert_eq!(
        server.calls("eval") - before,
        4,
        "a slot and a version of two names"
    );
}

/// The scope goes from thread to thread with its future.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_scope_is_where_its_future_is() {
    let cache = builder().url("memory:").build().unwrap();
    let rows: Vec<_> = (0..50).map(|_| Row::new(cache.clone())).collect();
    let scopes = rows.iter().map(|row| {
        let row = row.clone();
        tokio::spawn(after_commit(async move {
            for _ in 0..20 {
                row.write(2).await;
                tokio::task::yield_now().await;
                assert_eq!(row.read_in_tx().await, 2);
            }
        }))
    });
    for scope in scopes.collect::<Vec<_>>() {
        scope.await.unwrap();
    }
    assert!(!cache.exists("row").await.unwrap());
}

/// Nothing here needs Tokio.
#[test]
fn a_scope_needs_no_runtime() {
    let cache = Cache::builder().url("memory:").build().unwrap();
    let row = Row::new(cache.clone());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut scope = Box::pin(after_commit(async {
        assert_eq!(row.read().await, 1);
        row.write(2).await;
        assert_eq!(row.read_in_tx().await, 2);
        row.commit();
    }));
    assert!(scope.as_mut().poll(&mut context).is_ready());
    drop(scope);
    let mut read = Box::pin(row.read());
    assert_eq!(read.as_mut().poll(&mut context), std::task::Poll::Ready(2));
}
