//! Functions that name no cache use the one of `with_cache`.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use cache_runtime::{Cache, after_commit, cache_invalidate, cached, global, prime, with_cache};
use cache_tests::{RedisServer, poll_once};
use tokio::sync::Barrier;

fn cache() -> Cache {
    Cache::builder().url("memory:").build().unwrap()
}

#[cached(key = "with_cache:of:<test>", ttl = 60, skip(value))]
async fn first_value_of(test: &str, value: &AtomicU64) -> u64 {
    let _ = test;
    value.fetch_add(1, SeqCst)
}

#[cache_invalidate("with_cache:of:<test>")]
async fn change(test: &str) {
    let _ = test;
}

fn counted(cache: &Cache) -> (u64, u64) {
    let stats = cache.stats();
    (stats.hits, stats.misses)
}

#[tokio::test]
async fn two_futures_at_once_have_a_cache_each() {
    let both = Barrier::new(2);
    let of_one = async |expected: u64, value: AtomicU64| {
        let cache = cache();
        with_cache(&cache, async {
            for _ in 0..3 {
                both.wait().await;
                assert_eq!(first_value_of("two", &value).await, expected);
            }
        })
        .await;
        assert_eq!(counted(&cache), (2, 1));
    };
    tokio::join!(of_one(10, 10.into()), of_one(20, 20.into()));
}

#[tokio::test]
async fn the_innermost_cache_is_used_and_then_the_one_around_it() {
    let (outer, inner) = (cache(), cache());
    let value = AtomicU64::new(1);
    with_cache(&outer, async {
        assert_eq!(first_value_of("nested", &value).await, 1);
        with_cache(inner.clone(), async {
            assert_eq!(first_value_of("nested", &value).await, 2);
        })
        .await;
        assert_eq!(first_value_of("nested", &value).await, 1);
    })
    .await;
    assert_eq!((counted(&outer), counted(&inner)), ((1, 1), (0, 1)));
}

#[tokio::test]
async fn updates_invalidate_in_it_within_a_transaction_too() {
    let cache = cache();
    let value = AtomicU64::new(1);
    with_cache(&cache, async {
        assert_eq!(first_value_of("update", &value).await, 1);
        change("update").await;
        assert_eq!(first_value_of("update", &value).await, 2);
        let commit = after_commit(async {
            change("update").await;
            Ok::<_, ()>(())
        });
        commit.await.unwrap();
        assert_eq!(first_value_of("update", &value).await, 3);
    })
    .await;
    assert_eq!(counted(&cache), (0, 3));
}

#[tokio::test]
async fn a_function_that_names_a_cache_uses_that() {
    #[cached(key = "with_cache:named:<n>", ttl = 60, skip(cache), cache = cache)]
    async fn named(cache: &Cache, n: u64) -> u64 {
        let _ = cache;
        n
    }
    let (around, own) = (cache(), cache());
    with_cache(&around, named(&own, 1)).await;
    assert_eq!((counted(&around), counted(&own)), ((0, 0), (0, 1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_in_a_task_of_its_own_takes_it_along() {
    #[cached(key = "with_cache:inner:<n>", ttl = 60)]
    async fn inner(n: u64) -> u64 {
        n
    }
    #[cached(key = "with_cache:outer:<n>", ttl = 60, detach)]
    async fn outer(n: u64) -> u64 {
        inner(n).await
    }
    let cache = cache();
    let calls = async {
        assert_eq!((outer(1).await, inner(1).await), (1, 1));
    };
    Box::pin(with_cache(&cache, calls)).await;
    assert_eq!(counted(&cache), (1, 2));
}

/// What a spawned task reads would else depend on which thread it runs on.
#[tokio::test]
async fn a_spawned_task_is_not_within() {
    #[cached(key = "with_cache:spawned:<n>", ttl = 60)]
    async fn spawned(n: u64) -> u64 {
        n
    }
    let cache = cache();
    with_cache(&cache, async {
        assert_eq!(tokio::spawn(spawned(1)).await.unwrap(), 1);
        let within = tokio::spawn(with_cache(cache.clone(), spawned(2)));
        assert_eq!(within.await.unwrap(), 2);
    })
    .await;
    assert_eq!(counted(&cache), (0, 1));
    assert!(
        global()
            .unwrap()
            .exists("with_cache:spawned:1")
            .await
            .unwrap()
    );
}

/// What is set aside between two polls, dropped or panics leaves no cache behind on the thread.
#[tokio::test]
async fn it_is_known_only_while_the_future_is_polled() {
    let cache = cache();
    let value = AtomicU64::new(1);
    let elsewhere = async |name: &str| {
        let before = counted(&cache);
        first_value_of(name, &value).await;
        assert_eq!(counted(&cache), before);
    };
    let mut aside = Box::pin(with_cache(&cache, async {
        tokio::task::yield_now().await;
        first_value_of("aside", &value).await
    }));
    assert!(poll_once(aside.as_mut()).is_pending());
    elsewhere("between").await;
    aside.await;
    elsewhere("after").await;
    let panics = tokio::spawn(with_cache(cache.clone(), async { panic!("as it should") }));
    panics.await.unwrap_err();
    elsewhere("panicked").await;
    assert_eq!(counted(&cache), (0, 1));
}

/// A function that returns a future is called outside of the scope here, and polled within.
#[tokio::test]
async fn the_cache_of_a_returned_future_is_the_one_that_it_is_polled_in() {
    #[cached(key = "with_cache:returned:<id>")]
    fn returned(id: u64) -> impl Future<Output = u64> {
        async move { id }
    }
    #[cached(key = "with_cache:boxed:<id>", ttl = Duration::from_secs(id))]
    fn boxed(id: u64) -> Pin<Box<dyn Future<Output = u64> + Send>> {
        Box::pin(async move { id })
    }
    #[cache_invalidate("with_cache:returned:<id>", "with_cache:boxed:<id>")]
    fn change(id: u64) -> impl Future<Output = ()> {
        async move {
            let _ = id;
        }
    }
    let server = RedisServer::start();
    let on_server = Cache::builder()
        .url(server.url())
        .default_ttl(Duration::from_secs(1000));
    for cache in [cache(), on_server.build().unwrap()] {
        for _ in 0..2 {
            assert_eq!(with_cache(&cache, returned(100)).await, 100);
            assert_eq!(with_cache(&cache, boxed(100)).await, 100);
        }
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses, stats.loads), (2, 2, 2));
        let ttl = async |key: &str| cache.ttl(key).await.unwrap().unwrap().as_secs();
        // Jitter takes up to a tenth.
        assert!(ttl("with_cache:returned:100").await > 100);
        assert!(ttl("with_cache:boxed:100").await <= 100);
        with_cache(&cache, change(100)).await;
        assert!(!cache.exists("with_cache:returned:100").await.unwrap());
        assert!(!cache.exists("with_cache:boxed:100").await.unwrap());
        prime(with_cache(&cache, returned(100)), 7).await.unwrap();
        assert_eq!(with_cache(&cache, returned(100)).await, 7);
    }
    let global = global().unwrap();
    assert!(!global.exists("with_cache:returned:100").await.unwrap());
}
