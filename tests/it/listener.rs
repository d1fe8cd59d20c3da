//! What the listener of a cache hears, and that it changes nothing.

use std::sync::{Arc, Mutex, PoisonError};

use cache_runtime::{Cache, CacheBuilder, Options, Stats, cache_invalidate, cached};
use cache_tests::EventLog;

use crate::behaviour::{Recorded, builder, on_every_backend};

on_every_backend! {
    each_hit_is_heard_once
    a_cache_with_a_listener_counts_as_one_without
}

#[cached(key = "double:<n>", ttl = 60, unless = |n| *n > 100, cache = cache, skip(cache))]
async fn double(cache: &Cache, n: u64) -> Result<u64, &'static str> {
    n.checked_mul(2).ok_or("too much")
}

#[cache_invalidate("double:<n>", cache = cache)]
async fn forget(cache: &Cache, n: u64) {}

#[cache_invalidate("double:<n>", cache = cache)]
async fn forget_and_panic(cache: &Cache, n: u64) {
    panic!("the body of the update");
}

/// More threads than have counters of their own.
const THREADS: usize = 40;
const HITS_EACH: usize = 50;

async fn each_hit_is_heard_once(Recorded { cache, events }: Recorded) {
    assert_eq!(double(&cache, 3).await, Ok(6));
    events.take();
    let runtime = tokio::runtime::Handle::current();
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (cache, runtime) = (cache.clone(), runtime.clone());
            std::thread::spawn(move || {
                for _ in 0..HITS_EACH {
                    assert_eq!(runtime.block_on(double(&cache, 3)), Ok(6));
                }
            })
        })
        .collect();
    let join = move || threads.into_iter().for_each(|it| it.join().unwrap());
    tokio::task::spawn_blocking(join).await.unwrap();
    assert_eq!(events.take(), vec!["hit double:3"; THREADS * HITS_EACH]);
    let stats = cache.stats();
    let expected = [THREADS * HITS_EACH, 1, 1, 0].map(|count| count as u64);
    let counts = [stats.hits, stats.misses, stats.loads, stats.errors];
    assert_eq!(counts, expected);
    assert_eq!(stats.sites[0].hits, stats.hits);
}

async fn a_cache_with_a_listener_counts_as_one_without(builder: CacheBuilder) {
    let events = EventLog::default();
    let silent = builder.clone().namespace("silent").build().unwrap();
    let heard = builder.namespace("heard");
    let heard = events.record(heard).build().unwrap();
    let expected = some_of_everything(&silent).await;
    assert_eq!(some_of_everything(&heard).await, expected);
    let count = |event: &str| {
        let lines = events.lines();
        lines.iter().filter(|it| it.starts_with(event)).count() as u64
    };
    let heard = [count("hit "), count("miss "), count("load double")];
    assert_eq!(heard, [expected.hits, expected.misses, expected.loads]);
    assert_eq!(count("fail: "), expected.errors);
}

/// What is counted of hits, misses, errors, and of values that are not stored.
async fn some_of_everything(cache: &Cache) -> Stats {
    for n in [1, 2, 1, 70, 70, u64::MAX, 2] {
        let _ = double(cache, n).await;
    }
    forget(cache, 1).await;
    assert_eq!(double(cache, 1).await, Ok(2));
    cache
        .set("text", &"a".to_owned(), Options::new())
        .await
        .unwrap();
    for key in ["text", "absent"] {
        let _ = cache.get::<String>(key).await.unwrap();
    }
    cache.get::<u64>("text").await.unwrap_err();
    let mut stats = cache.stats();
    // What takes another time each time.
    (stats.load_time, stats.time_saved) = Default::default();
    for site in &mut stats.sites {
        (site.load_time, site.time_saved) = Default::default();
    }
    stats
}

/// In process, an update whose body panics invalidates while it unwinds: a second panic that came
/// out of there would end the process.
#[tokio::test]
async fn a_listener_that_panics_ends_neither_the_call_nor_the_process() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let lines = heard.clone();
    let builder = builder("memory:").jitter(0.0).on_event(move |event| {
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(event.to_string());
        panic!("the listener");
    });
    let cache = builder.build().unwrap();
    assert_eq!(double(&cache, 3).await, Ok(6));
    let update = {
        let cache = cache.clone();
        tokio::spawn(async move { forget_and_panic(&cache, 3).await })
    };
    let panic = update.await.unwrap_err().into_panic();
    let message = panic.downcast_ref::<&str>();
    assert_eq!(message, Some(&"the body of the update"));
    for _ in 0..2 {
        assert_eq!(double(&cache, 3).await, Ok(6));
    }
    let expected = [
        "miss double:3",
        "load double:3",
        "fill double:3 ttl=60s",
        "invalidate double:3",
        "miss double:3",
        "load double:3",
        "fill double:3 ttl=60s",
        "hit double:3",
    ];
    let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(*heard, expected);
}
