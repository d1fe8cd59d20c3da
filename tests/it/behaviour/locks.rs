//! Locks: one holder at a time, tokens that grow, and nothing that is left held.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cache_runtime::{Cache, CacheBuilder};
use cache_tests::{poll_once, until};
use tokio::task::JoinSet;

use super::{PATIENCE, on_every_backend};

on_every_backend! {
    of_many_contenders_one_holds_it_at_a_time
    a_guard_that_is_dropped_frees_the_lock
    a_guard_is_renewed_and_ends_at_its_limit
    a_dropped_attempt_leaves_nothing_held
    a_waiter_gives_up_at_its_limit
    a_value_locks_and_only_it_releases
    a_lock_by_value_ends_with_its_ttl
    work_ends_with_its_lock
    locks_are_apart_and_are_not_cleared
}

const HOUR: Duration = Duration::from_secs(3600);

/// Two caches of one namespace, as of two processes; without a server, one cache. Tokens grow in the order in
/// which the lock was held.
async fn of_many_contenders_one_holds_it_at_a_time(builder: CacheBuilder) {
    let one = builder.clone().build().unwrap();
    let other = builder.build().unwrap();
    let is_in_process = super::is_in_process(&one);
    let caches = [one.clone(), if is_in_process { one } else { other }];
    let is_held = Arc::new(AtomicBool::new(false));
    let mut contenders = JoinSet::new();
    for nth in 0..30 {
        let (cache, is_held) = (caches[nth % 2].clone(), is_held.clone());
        contenders.spawn(async move {
            let lock = cache.lock("report", HOUR);
            let held = lock.lock_within(PATIENCE).await.unwrap().expect("in time");
            assert!(!is_held.swap(true, Ordering::SeqCst), "held by two");
            tokio::task::yield_now().await;
            assert!(held.is_held());
            is_held.store(false, Ordering::SeqCst);
            let token = held.token();
            // A third is given back in the background.
            if nth % 3 > 0 {
                assert!(held.release().await.unwrap());
            }
            token
        });
    }
    let mut tokens = Vec::new();
    while let Some(token) = contenders.join_next().await {
        tokens.push(token.unwrap());
    }
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), 30);
}

async fn a_guard_that_is_dropped_frees_the_lock(cache: Cache) {
    let lock = cache.lock("report", HOUR);
    let held = lock.try_lock().await.unwrap().unwrap();
    let first = held.token();
    assert!(lock.try_lock().await.unwrap().is_none());
    assert!(lock.acquire("me").await.unwrap().is_none());
    drop(held);
    let held = lock.lock_within(PATIENCE).await.unwrap().unwrap();
    assert!(held.token() > first);
    assert!(held.release().await.unwrap());
    let last = lock.acquire("me").await.unwrap().unwrap();
    assert!(last > first);
}

async fn a_guard_is_renewed_and_ends_at_its_limit(cache: Cache) {
    let ttl = Duration::from_millis(900);
    let held = cache.lock("renewed", ttl).try_lock().await.unwrap();
    let limited = cache.lock("limited", ttl).held_at_most(ttl * 4 / 3);
    let ends = limited.try_lock().await.unwrap().unwrap();
    ends.lost().await;
    assert!(!ends.is_held());
    // It ends on the server a little later than here.
    let free = limited.lock_within(PATIENCE).await.unwrap().unwrap();
    assert!(free.token() > ends.token());
    // What is lost is not taken from its next holder.
    drop(ends);
    assert!(free.is_held());
    assert!(!limited.release("").await.unwrap());
    assert!(held.unwrap().is_held());
}

async fn a_dropped_attempt_leaves_nothing_held(cache: Cache) {
    let lock = cache.lock("report", HOUR);
    for polls in 1..4 {
        {
            let mut attempt = pin!(lock.try_lock());
            for _ in 0..polls {
                if poll_once(attempt.as_mut()).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let held = lock.lock_within(PATIENCE).await.unwrap();
        assert!(held.is_some());
    }
}

async fn a_waiter_gives_up_at_its_limit(cache: Cache) {
    let lock = cache.lock("report", HOUR);
    let held = lock.try_lock().await.unwrap().unwrap();
    let limit = Duration::from_millis(30);
    assert!(lock.lock_within(limit).await.unwrap().is_none());
    assert!(lock.lock_within(Duration::ZERO).await.unwrap().is_none());
    assert!(held.is_held());
}

async fn a_value_locks_and_only_it_releases(cache: Cache) {
    let lock = cache.lock("report", HOUR);
    let (mine, other) = ("worker 7\nof 9", "worker 8");
    let first = lock.acquire(mine).await.unwrap().unwrap();
    assert_eq!(lock.acquire(mine).await.unwrap(), None);
    assert_eq!(lock.acquire(other).await.unwrap(), None);
    assert!(!lock.release(other).await.unwrap());
    assert!(!lock.extend(other).await.unwrap());
    assert!(lock.extend(mine).await.unwrap());
    // As another process would, which knows the value.
    assert!(cache.lock("report", HOUR).release(mine).await.unwrap());
    assert!(!lock.release(mine).await.unwrap());
    assert!(!lock.extend(mine).await.unwrap());
    assert!(lock.acquire(other).await.unwrap().unwrap() > first);
}

async fn a_lock_by_value_ends_with_its_ttl(cache: Cache) {
    let lock = cache.lock("report", Duration::from_millis(40));
    let first = lock.acquire("one").await.unwrap().unwrap();
    let second = Arc::new(std::sync::Mutex::new(None));
    until(async || {
        let taken = lock.acquire("two").await.unwrap();
        *second.lock().unwrap() = taken;
        taken.is_some()
    })
    .await;
    assert!(second.lock().unwrap().unwrap() > first);
    assert!(!lock.release("one").await.unwrap());
}

async fn work_ends_with_its_lock(cache: Cache) {
    let lock = cache.lock("report", Duration::from_millis(100));
    let short = lock.clone().held_at_most(Duration::from_millis(100));
    let held = short.try_lock().await.unwrap().unwrap();
    let forever = std::future::pending::<()>();
    assert_eq!(held.while_held(forever).await, None);
    assert_eq!(held.while_held(async { 7 }).await, None);
    drop(held);
    let lock = cache.lock("report", HOUR);
    let held = lock.lock_within(PATIENCE).await.unwrap().unwrap();
    assert_eq!(held.while_held(async { 7 }).await, Some(7));
}

async fn locks_are_apart_and_are_not_cleared(cache: Cache) {
    let held = cache
        .lock("user:7", HOUR)
        .try_lock()
        .await
        .unwrap()
        .unwrap();
    let other = cache.lock("user", HOUR).try_lock().await.unwrap();
    assert!(other.is_some());
    cache.invalidate(["user:7"]).await.unwrap();
    cache.invalidate_matching("*").await.unwrap();
    cache.clear().await.unwrap();
    assert!(
        cache
            .lock("user:7", HOUR)
            .try_lock()
            .await
            .unwrap()
            .is_none()
    );
    assert!(held.release().await.unwrap());
}
