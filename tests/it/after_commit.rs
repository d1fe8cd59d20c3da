//! `after_commit`: a scope invalidates after its commit. Within it, calls leave the cache alone.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use cache_runtime::{Cache, Options, after_commit, cache_invalidate, cached};
use cache_tests::{LIMIT, RedisServer, poll_once, until};

use crate::behaviour::{Recorded, builder, on_every_backend};
use crate::gated::Gate;

on_every_backend! {
    a_change_within_the_scope_is_invalidated_after_the_commit
    callers_outside_of_the_scope_are_served_until_the_commit
    reads_within_are_neither_served_from_the_cache_nor_stored
    a_read_in_the_body_of_an_update_is_not_stored
    a_row_that_is_rolled_back_is_served_to_no_caller
    names_that_the_scope_does_not_change_are_left_alone_too
    another_cache_is_left_alone_too
    a_load_that_begins_outside_and_ends_within_is_not_stored
    a_caller_outside_of_the_scope_does_not_share_a_load_within
    methods_of_the_cache_find_nothing_within
    get_or_load_within_loads_and_stores_nothing
    a_value_that_is_set_within_is_not_stored
    an_entry_that_is_deleted_within_is_invalidated_at_the_end_too
    a_scope_within_a_scope_hands_its_names_to_the_outer
    a_scope_that_is_dropped_invalidates
    a_scope_that_panics_invalidates
    an_update_that_is_dropped_within_is_invalidated_at_the_end
    a_scope_that_returns_an_error_invalidates
    a_commit_that_has_happened_is_invalidated_once
    what_fails_within_a_scope_that_succeeds_is_repeated
    an_update_that_on_ok_leaves_out_is_not_invalidated
    a_spawned_task_is_not_within_the_scope
    two_scopes_of_one_task_are_apart
    a_fence_is_removed_at_the_end_of_the_scope
    a_fence_of_a_scope_that_is_dropped_stands_until_its_deadline
    a_fence_of_a_scope_that_fails_stands_until_its_deadline
}

/// A scope whose commit succeeds.
async fn committed<F: Future>(work: F) -> F::Output {
    let Ok(output) = after_commit(async { Ok::<_, Infallible>(work.await) }).await;
    output
}

/// A row with a committed value, and the value that a transaction sees.
#[derive(Debug)]
struct Row {
    cache: Cache,
    committed: AtomicU64,
    pending: AtomicU64,
    load_began: Gate,
    load_may_end: Gate,
}

impl Row {
    fn new(cache: Cache) -> Arc<Self> {
        Arc::new(Self {
            cache,
            committed: AtomicU64::new(1),
            pending: AtomicU64::new(1),
            load_began: Gate::new(),
            load_may_end: Gate::new(),
        })
    }

    /// A read outside of the transaction.
    #[cached(key = "row", ttl = 60, invalidate_on = "rows", cache = self.cache)]
    async fn read(&self) -> u64 {
        self.committed.load(Ordering::SeqCst)
    }

    /// A read through the transaction, with the same key.
    #[cached(key = "row", ttl = 60, invalidate_on = "rows", cache = self.cache)]
    async fn read_in_tx(&self) -> u64 {
        self.pending.load(Ordering::SeqCst)
    }

    /// A read through the transaction whose load ends when the test says so.
    #[cached(key = "row", ttl = 60, invalidate_on = "rows", cache = self.cache)]
    async fn read_slowly(&self) -> u64 {
        let value = self.pending.load(Ordering::SeqCst);
        self.load_began.open();
        self.load_may_end.pass().await;
        value
    }

    #[cached(key = "another", ttl = 60, cache = self.cache)]
    async fn another(&self) -> u64 {
        self.committed.load(Ordering::SeqCst)
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

    #[cache_invalidate("another", cache = self.cache)]
    async fn fail_to_write_another(&self) -> Result<(), &'static str> {
        Err("the connection broke")
    }

    #[cache_invalidate("row", on = ok, cache = self.cache)]
    async fn write_nothing(&self) -> Result<(), &'static str> {
        Err("no")
    }

    fn commit(&self) {
        let value = self.pending.load(Ordering::SeqCst);
        self.committed.store(value, Ordering::SeqCst);
    }

    /// What another task reads.
    async fn others_read(self: &Arc<Self>) -> u64 {
        let row = self.clone();
        tokio::spawn(async move { row.read().await }).await.unwrap()
    }

    /// Waits for what goes on in the background, until another task reads this value.
    async fn others_read_soon(self: &Arc<Self>, expected: u64) {
        until(async || self.others_read().await == expected).await;
    }

    async fn is_cached(self: &Arc<Self>) -> bool {
        let cache = self.cache.clone();
        let exists = tokio::spawn(async move { cache.exists("row").await });
        exists.await.unwrap().unwrap()
    }
}

/// The events of a read within a scope.
const UNCOMMITTED_READ: [&str; 3] = ["miss row", "load row", "not filled row: uncommitted"];

async fn a_change_within_the_scope_is_invalidated_after_the_commit(
    Recorded { cache, events }: Recorded,
) {
    for by_tag in [false, true] {
        let row = Row::new(cache.clone());
        assert_eq!(row.read().await, 1);
        let returned = committed(async {
            if by_tag {
                row.write_all(2).await;
            } else {
                row.write(2).await;
            }
            // The old row is all that others can see.
            assert_eq!(row.others_read().await, 1);
            row.commit();
            "done"
        })
        .await;
        assert_eq!(returned, "done");
        assert_eq!(row.read().await, 2);
        cache.clear().await.unwrap();
        let invalidated = if by_tag { "rows" } else { "row" };
        let expected = [
            "miss row",
            "load row",
            "fill row ttl=60s",
            "hit row",
            &format!("invalidate {invalidated}"),
            "miss row",
            "load row",
            "fill row ttl=60s",
            "clear",
        ];
        assert_eq!(events.take(), expected);
    }
}

async fn callers_outside_of_the_scope_are_served_until_the_commit(
    Recorded { cache, events }: Recorded,
) {
    let row = Row::new(cache);
    assert_eq!(row.read().await, 1);
    events.take();
    committed(async {
        row.write(2).await;
        for _ in 0..3 {
            assert_eq!(row.others_read().await, 1);
        }
        assert_eq!(events.take(), ["hit row"; 3]);
        row.commit();
    })
    .await;
    assert_eq!(events.take(), ["invalidate row"]);
    assert_eq!(row.others_read().await, 2);
}

async fn reads_within_are_neither_served_from_the_cache_nor_stored(
    Recorded { cache, events }: Recorded,
) {
    for by_tag in [false, true] {
        let row = Row::new(cache.clone());
        assert_eq!(row.read().await, 1);
        events.take();
        committed(async {
            assert_eq!(row.read_in_tx().await, 1);
            assert_eq!(events.take(), UNCOMMITTED_READ, "nothing has changed yet");
            if by_tag {
                row.write_all(2).await;
            } else {
                row.write(2).await;
            }
            for _ in 0..2 {
                assert_eq!(row.read_in_tx().await, 2);
                assert_eq!(events.take(), UNCOMMITTED_READ);
            }
            assert_eq!(row.others_read().await, 1, "not what may be rolled back");
        })
        .await;
        assert_eq!(row.read().await, 1, "it was rolled back");
        cache.clear().await.unwrap();
    }
}

async fn a_read_in_the_body_of_an_update_is_not_stored(Recorded { cache, events }: Recorded) {
    let row = Row::new(cache);
    committed(async {
        assert_eq!(row.write_and_read(2).await, 2);
        assert_eq!(events.take(), UNCOMMITTED_READ);
        assert!(!row.is_cached().await);
    })
    .await;
    assert_eq!(events.take(), ["invalidate row"]);
    assert_eq!(row.others_read().await, 1);
}

/// No function in the scope invalidates what it inserts: before, there was nothing under these names.
async fn a_row_that_is_rolled_back_is_served_to_no_caller(Recorded { cache, events }: Recorded) {
    let row = Row::new(cache);
    let transaction = after_commit(async {
        row.pending.store(2, Ordering::SeqCst);
        assert_eq!(row.read_in_tx().await, 2);
        Err::<(), _>("roll back")
    });
    transaction.await.unwrap_err();
    assert_eq!(events.take(), UNCOMMITTED_READ);
    assert_eq!(row.others_read().await, 1);
    assert_eq!(row.read().await, 1);
}

async fn names_that_the_scope_does_not_change_are_left_alone_too(
    Recorded { cache, events }: Recorded,
) {
    let row = Row::new(cache);
    assert_eq!(row.another().await, 1);
    row.committed.store(2, Ordering::SeqCst);
    events.take();
    committed(async {
        row.write(2).await;
        assert_eq!(row.another().await, 2);
    })
    .await;
    assert_eq!(row.another().await, 1);
    let expected = [
        "miss another",
        "load another",
        "not filled another: uncommitted",
        "invalidate row",
        "hit another",
    ];
    assert_eq!(events.take(), expected);
}

/// The scope has changed nothing in this cache.
async fn another_cache_is_left_alone_too(Recorded { cache, events }: Recorded) {
    let row = Row::new(cache);
    let other = Row::new(builder("memory:").build().unwrap());
    committed(async {
        other.write(2).await;
        assert_eq!(row.read().await, 1);
    })
    .await;
    assert_eq!(events.take(), UNCOMMITTED_READ);
}

/// The load may have read what is not committed.
async fn a_load_that_begins_outside_and_ends_within_is_not_stored(
    Recorded { cache, events }: Recorded,
) {
    let row = Row::new(cache);
    let mut read = pin!(row.read_slowly());
    tokio::select! {
        biased;
        _ = &mut read => unreachable!("the load may not end yet"),
        () = row.load_began.passed() => {}
    }
    row.load_may_end.open();
    assert_eq!(committed(read).await, 1);
    assert_eq!(events.take(), UNCOMMITTED_READ);
}

async fn a_caller_outside_of_the_scope_does_not_share_a_load_within(
    Recorded { cache, events }: Recorded,
) {
    let row = Row::new(cache);
    row.pending.store(2, Ordering::SeqCst);
    committed(async {
        let meanwhile = async {
            row.load_began.passed().await;
            assert_eq!(row.others_read().await, 1, "the committed value");
            row.load_may_end.open();
        };
        let (read, ()) = tokio::join!(row.read_slowly(), meanwhile);
        assert_eq!(read, 2);
    })
    .await;
    let expected = [
        "miss row",
        "load row",
        "miss row",
        "load row",
        "fill row ttl=60s",
        "not filled row: uncommitted",
    ];
    assert_eq!(events.take(), expected);
}

async fn methods_of_the_cache_find_nothing_within(cache: Cache) {
    let options = || Options::new().tag("tag");
    cache.set("key", &1, options()).await.unwrap();
    cache.set("tagged", &1, options()).await.unwrap();
    committed(async {
        for key in ["key", "tagged"] {
            assert_eq!(cache.get::<i32>(key).await.unwrap(), None);
            assert!(!cache.exists(key).await.unwrap());
            assert_eq!(cache.ttl(key).await.unwrap(), None);
            assert!(cache.get::<i32>("").await.unwrap_err().is_key());
        }
        cache.invalidate(["key"]).await.unwrap();
        let theirs = cache.clone();
        let theirs = tokio::spawn(async move { theirs.get::<i32>("key").await.unwrap() });
        assert_eq!(theirs.await.unwrap(), Some(1));
    })
    .await;
    assert_eq!(cache.get::<i32>("key").await.unwrap(), None);
    assert_eq!(cache.get("tagged").await.unwrap(), Some(1));
}

async fn get_or_load_within_loads_and_stores_nothing(Recorded { cache, events }: Recorded) {
    let load = |value| cache.get_or_load("key", Options::new(), async move { Ok::<_, ()>(value) });
    assert_eq!(load(1).await, Ok(1));
    events.take();
    assert_eq!(committed(load(2)).await, Ok(2));
    assert_eq!(load(3).await, Ok(1));
    let expected = [
        "miss key",
        "load key",
        "not filled key: uncommitted",
        "hit key",
    ];
    assert_eq!(events.take(), expected);
}

async fn a_value_that_is_set_within_is_not_stored(Recorded { cache, events }: Recorded) {
    cache.set("key", &1, Options::new()).await.unwrap();
    committed(async {
        cache.set("key", &2, Options::new()).await.unwrap();
        let theirs = cache.clone();
        let theirs = tokio::spawn(async move { theirs.get::<i32>("key").await.unwrap() });
        assert_eq!(theirs.await.unwrap(), Some(1));
    })
    .await;
    let expected = [
        "fill key ttl=300s",
        "not filled key: uncommitted",
        "hit key",
        "invalidate key",
    ];
    assert_eq!(events.take(), expected);
    assert_eq!(
        cache.get::<i32>("key").await.unwrap(),
        None,
        "it was set to something else"
    );
}

async fn an_entry_that_is_deleted_within_is_invalidated_at_the_end_too(
    Recorded { cache, events }: Recorded,
) {
    let row = Row::new(cache);
    assert_eq!(row.read().await, 1);
    events.take();
    committed(async {
        row.pending.store(2, Ordering::SeqCst);
        assert!(row.cache.delete("row").await.unwrap());
        assert_eq!(row.others_read().await, 1, "which stores the old row again");
        row.commit();
    })
    .await;
    let expected = [
        "delete row",
        "miss row",
        "load row",
        "fill row ttl=60s",
        "invalidate row",
    ];
    assert_eq!(events.take(), expected);
    assert_eq!(row.read().await, 2);
}

async fn a_scope_within_a_scope_hands_its_names_to_the_outer(Recorded { cache, events }: Recorded) {
    let row = Row::new(cache);
    assert_eq!(row.read().await, 1);
    events.take();
    committed(async {
        committed(row.write(2)).await;
        assert!(events.take().is_empty());
        assert!(row.is_cached().await);
        assert_eq!(row.read_in_tx().await, 2);
        assert_eq!(events.take(), UNCOMMITTED_READ);
        row.commit();
    })
    .await;
    assert_eq!(events.take(), ["invalidate row"]);
    assert_eq!(row.read().await, 2);
}

async fn a_scope_that_is_dropped_invalidates(Recorded { cache, events }: Recorded) {
    let row = Row::new(cache);
    assert_eq!(row.read().await, 1);
    let (it, written) = (row.clone(), Arc::new(Gate::new()));
    let has_written = written.clone();
    let scope = tokio::spawn(committed(async move {
        it.write(2).await;
        it.commit();
        has_written.open();
        std::future::pending::<()>().await;
    }));
    written.passed().await;
    assert_eq!(row.others_read().await, 1);
    events.take();
    scope.abort();
    assert!(scope.await.unwrap_err().is_cancelled());
    events.until("invalidate row").await;
    assert_eq!(events.take(), ["invalidate row"]);
    assert_eq!(row.others_read().await, 2);
}

async fn a_scope_that_panics_invalidates(Recorded { cache, events }: Recorded) {
    let row = Row::new(cache);
    assert_eq!(row.read().await, 1);
    let it = row.clone();
    let scope = tokio::spawn(committed(async move {
        it.write(2).await;
        it.commit();
        panic!("after the commit");
    }));
    assert!(scope.await.unwrap_err().is_panic());
    events.until("invalidate row").await;
    assert_eq!(row.others_read().await, 2);
    assert_eq!(row.read().await, 2, "the thread is in no scope any more");
}

async fn an_update_that_is_dropped_within_is_invalidated_at_the_end(cache: Cache) {
    let row = Row::new(cache);
    assert_eq!(row.read().await, 1);
    committed(async {
        {
            let update = pin!(row.write_for_ever(2));
            assert!(poll_once(update).is_pending());
        }
        assert!(row.is_cached().await);
        assert_eq!(row.read_in_tx().await, 2);
        row.commit();
    })
    .await;
    assert_eq!(row.read().await, 2);
}

async fn a_scope_that_returns_an_error_invalidates(cache: Cache) {
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

/// However many there are, nothing waits for a second invalidation.
async fn a_commit_that_has_happened_is_invalidated_once(cache: Cache) {
    let row = Row::new(cache);
    for value in 0..20 {
        committed(row.write(value)).await;
        assert_eq!(row.cache.health().waiting, 0);
    }
    let scope = after_commit(async {
        row.write(2).await;
        Err::<(), _>("the connection broke")
    });
    scope.await.unwrap_err();
    assert_eq!(row.cache.health().waiting, 1);
}

/// It may not be part of the transaction.
async fn what_fails_within_a_scope_that_succeeds_is_repeated(cache: Cache) {
    let row = Row::new(cache);
    committed(async {
        let inner = after_commit(async {
            row.write(2).await;
            Err::<(), _>("the connection broke")
        });
        inner.await.unwrap_err();
    })
    .await;
    assert_eq!(row.cache.health().waiting, 1, "an inner scope that fails");
    committed(async {
        let inner = pin!(after_commit(async {
            row.write_all(2).await;
            std::future::pending::<Result<(), ()>>().await
        }));
        assert!(poll_once(inner).is_pending());
    })
    .await;
    assert_eq!(row.cache.health().waiting, 2, "one that is dropped");
    committed(async { row.fail_to_write_another().await.unwrap_err() }).await;
    assert_eq!(row.cache.health().waiting, 3, "an update that fails");
}

async fn an_update_that_on_ok_leaves_out_is_not_invalidated(Recorded { cache, events }: Recorded) {
    let row = Row::new(cache);
    assert_eq!(row.read().await, 1);
    events.take();
    after_commit(row.write_nothing()).await.unwrap_err();
    assert_eq!(row.read().await, 1);
    assert_eq!(events.take(), ["hit row"]);
}

async fn a_spawned_task_is_not_within_the_scope(Recorded { cache, events }: Recorded) {
    let row = Row::new(cache);
    assert_eq!(row.read().await, 1);
    committed(async {
        let it = row.clone();
        tokio::spawn(async move { it.write(2).await })
            .await
            .unwrap();
        assert_eq!(events.lines().last().unwrap(), "invalidate row");
        assert!(!row.is_cached().await);
    })
    .await;
}

async fn two_scopes_of_one_task_are_apart(cache: Cache) {
    let row = Row::new(cache);
    assert_eq!(row.read().await, 1);
    let other_has_ended = Gate::new();
    let one = committed(async {
        row.write(2).await;
        other_has_ended.passed().await;
        row.commit();
    });
    let two = async {
        committed(async {
            tokio::task::yield_now().await;
            assert_eq!(row.read().await, 1);
        })
        .await;
        assert!(row.is_cached().await);
        other_has_ended.open();
    };
    tokio::join!(one, two);
    assert_eq!(row.read().await, 2);
}

async fn a_fence_is_removed_at_the_end_of_the_scope(Recorded { cache, events }: Recorded) {
    let row = Row::new(cache);
    assert_eq!(row.read().await, 1);
    events.take();
    committed(async {
        row.write_behind_a_fence(2).await;
        assert_eq!(row.others_read().await, 1);
        assert!(!row.is_cached().await, "the fence stands until the commit");
        row.commit();
    })
    .await;
    let expected = [
        "fence row",
        "miss row",
        "load row",
        "not filled row: unstorable",
        "invalidate row",
        "unfence row",
    ];
    assert_eq!(events.take(), expected);
    assert_eq!(row.read().await, 2);
    assert!(row.is_cached().await);
}

async fn a_fence_of_a_scope_that_is_dropped_stands_until_its_deadline(cache: Cache) {
    let row = Row::new(cache);
    let written = Gate::new();
    let scope = committed(async {
        row.write_behind_a_fence(2).await;
        written.open();
        std::future::pending::<()>().await;
    });
    tokio::select! {
        () = scope => unreachable!(),
        () = written.passed() => {}
    }
    row.cache.flush(LIMIT).await.unwrap();
    assert_eq!(row.others_read().await, 1);
    assert!(!row.is_cached().await, "the commit may be under way");
}

async fn a_fence_of_a_scope_that_fails_stands_until_its_deadline(cache: Cache) {
    let row = Row::new(cache);
    let scope = after_commit(async {
        row.write_behind_a_fence(2).await;
        Err::<(), _>("the connection broke")
    });
    scope.await.unwrap_err();
    assert_eq!(row.others_read().await, 1);
    assert!(!row.is_cached().await, "the commit may be under way");
}

/// A commit that lost its connection may return its error before it happens.
#[tokio::test]
async fn a_commit_that_comes_after_the_scope_is_invalidated_too() {
    let settle = Duration::from_millis(100);
    let cache = builder("memory:").settle(settle).build().unwrap();
    // On a busy machine `settle` may end before the commit: then try again.
    until(async || {
        let row = Row::new(cache.clone());
        let scope = after_commit(async {
            row.write(2).await;
            Err::<(), _>("the connection broke")
        });
        scope.await.unwrap_err();
        assert_eq!(row.others_read().await, 1);
        row.commit();
        if cache.health().waiting == 0 {
            return false;
        }
        row.others_read_soon(2).await;
        true
    })
    .await;
}

#[tokio::test]
async fn a_scope_invalidates_each_name_once_and_all_at_its_end() {
    let server = RedisServer::start();
    let row = Row::new(builder(&server.url()).build().unwrap());
    row.read().await;
    let before = server.calls("eval");
    committed(async {
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
        "the slot and the version of each of two names"
    );
}

/// The future of a scope may be polled on one thread, then on another.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_scope_follows_its_future_from_thread_to_thread() {
    let cache = builder("memory:").build().unwrap();
    let rows: Vec<_> = (0..50).map(|_| Row::new(cache.clone())).collect();
    let scopes = rows.iter().map(|row| {
        let row = row.clone();
        tokio::spawn(committed(async move {
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

#[test]
fn a_scope_works_outside_of_a_runtime() {
    let cache = Cache::builder().url("memory:").build().unwrap();
    let row = Row::new(cache.clone());
    let mut scope = Box::pin(committed(async {
        assert_eq!(row.read().await, 1);
        row.write(2).await;
        assert_eq!(row.read_in_tx().await, 2);
        row.commit();
    }));
    assert!(poll_once(scope.as_mut()).is_ready());
    drop(scope);
    assert_eq!(poll_once(pin!(row.read())), Poll::Ready(2));
}
