//! Names that are too long for a key on a server are cached as others are.

use std::time::Duration;

use cache_runtime::{
    Cache, CacheBuilder, CachedEntry, Key, Options, after_commit, cache_invalidate, cached, prime,
    refresh,
};
use tokio::task::JoinSet;

use super::{Recorded, counts, on_every_backend};

on_every_backend! {
    a_long_key_is_a_hit_and_equal_only_to_itself
    callers_of_a_long_key_share_one_load
    a_long_name_is_invalidated
    a_long_name_is_fenced
    methods_take_long_names
    a_long_key_is_primed_and_refreshed
    a_name_that_is_a_short_form_is_not_taken_for_the_long_name
    what_a_long_name_holds_for_a_scope_is_invalidated
}

#[cached(
    key = "echo:<text>",
    ttl = 60,
    invalidate_on = "echoes:<text>",
    cache = cache,
    skip(cache)
)]
async fn echo(cache: &Cache, text: &str) -> String {
    tokio::task::yield_now().await;
    text.chars().rev().take(8).collect()
}

/// Longer than a key on a server may be, and different only at its end.
fn long(end: &str) -> String {
    let text = "long ".repeat(Key::MAX_LEN / 4) + end;
    assert!(text.len() > Key::MAX_LEN);
    text
}

async fn a_long_key_is_a_hit_and_equal_only_to_itself(cache: Cache) {
    for _ in 0..2 {
        assert_eq!(echo(&cache, &long("a")).await, "a gnol g");
        assert_eq!(echo(&cache, &long("b")).await, "b gnol g");
    }
    assert_eq!(counts(&cache), [2, 2, 2]);
    assert_eq!(cache.stats().errors, 0);
}

async fn callers_of_a_long_key_share_one_load(builder: CacheBuilder) {
    #[cached(key = "slow:<text>", ttl = 60, cache = cache, skip(cache))]
    async fn slow(cache: &Cache, text: &str) -> usize {
        tokio::time::sleep(Duration::from_millis(50)).await;
        text.len()
    }
    let cache = builder.build().unwrap();
    let mut callers = JoinSet::new();
    // Few callers: each computes its key, and a load that is woken meanwhile has to be polled soon.
    for _ in 0..20 {
        let cache = cache.clone();
        callers.spawn(async move { slow(&cache, &long("")).await });
    }
    assert_eq!(callers.join_all().await, [long("").len(); 20]);
    assert_eq!(cache.stats().loads, 1);
}

async fn a_long_name_is_invalidated(cache: Cache) {
    #[cache_invalidate("echo:<text>", cache = cache)]
    async fn change_one(cache: &Cache, text: &str) {}
    #[cache_invalidate("echoes:<text>", cache = cache)]
    async fn change_all(cache: &Cache, text: &str) {}

    let [one, other] = [long("a"), long("b")];
    for expected in 1..3 {
        for text in [&one, &other] {
            echo(&cache, text).await;
        }
        match expected {
            1 => change_one(&cache, &one).await,
            _ => change_all(&cache, &one).await,
        }
        let before = cache.stats().loads;
        for text in [&one, &other] {
            echo(&cache, text).await;
        }
        assert_eq!(cache.stats().loads, before + 1);
    }
}

async fn a_long_name_is_fenced(Recorded { cache, events }: Recorded) {
    #[cache_invalidate("echoes:<text>", fence = "60s", cache = cache)]
    async fn change(cache: &Cache, text: &str) -> Result<(), ()> {
        for _ in 0..2 {
            echo(cache, text).await;
        }
        Ok(())
    }
    change(&cache, &long("a")).await.unwrap();
    let stored = |events: Vec<String>| events.iter().any(|event| event.starts_with("fill"));
    assert!(!stored(events.take()));
    echo(&cache, &long("a")).await;
    assert!(stored(events.take()));
}

async fn methods_take_long_names(cache: Cache) {
    let (key, tag) = (long("key"), long("tag"));
    let options = || Options::new().tag(tag.as_str());
    cache.set(key.as_str(), &1, options()).await.unwrap();
    assert_eq!(cache.get(key.as_str()).await.unwrap(), Some(1));
    assert_eq!(cache.get::<i32>(long("other")).await.unwrap(), None);
    assert!(cache.exists(key.as_str()).await.unwrap());
    assert!(cache.ttl(key.as_str()).await.unwrap().is_some());
    cache.invalidate([long("another tag")]).await.unwrap();
    assert!(cache.exists(key.as_str()).await.unwrap());
    cache.invalidate([tag.as_str()]).await.unwrap();
    assert!(!cache.exists(key.as_str()).await.unwrap());

    for loads in [1, 0] {
        let before = cache.stats().loads;
        let load = async { Ok::<_, ()>(2) };
        let loaded = cache.get_or_load(key.as_str(), options(), load).await;
        assert_eq!(loaded, Ok(2));
        assert_eq!(cache.stats().loads, before + loads);
    }
    assert!(cache.delete(key.as_str()).await.unwrap());
    assert!(!cache.delete(key.as_str()).await.unwrap());
}

async fn a_long_key_is_primed_and_refreshed(cache: Cache) {
    let text = long("a");
    prime(echo(&cache, &text), "primed".to_owned())
        .await
        .unwrap();
    assert_eq!(echo(&cache, &text).await, "primed");
    let entry = CachedEntry::of(echo(&cache, &text)).unwrap();
    assert_eq!(entry.get::<String>().await.unwrap().unwrap(), "primed");
    assert_eq!(refresh(echo(&cache, &text)).await, "a gnol g");
    assert_eq!(echo(&cache, &text).await, "a gnol g");
    entry.invalidate().await.unwrap();
    assert!(!entry.exists().await.unwrap());
}

/// It has the slot of the long name on a server. Neither is served the other's entry.
async fn a_name_that_is_a_short_form_is_not_taken_for_the_long_name(cache: Cache) {
    let key = "x".repeat(Key::MAX_LEN + 1);
    let hash = "e5c8309afda18ec4ec225ada92dab2d5768f7d845d8cebf2b9968392a6bfd6de";
    let short = format!("{}…sha256:{hash}", "x".repeat(1024));
    for (one, other) in [(&key, &short), (&short, &key)] {
        cache.clear().await.unwrap();
        cache.set(one.as_str(), &1, Options::new()).await.unwrap();
        assert_eq!(cache.get::<i32>(other.as_str()).await.unwrap(), None);
        for expected in [2, 2] {
            let load = async { Ok::<_, ()>(2) };
            let loaded = cache
                .get_or_load(other.as_str(), Options::new(), load)
                .await;
            assert_eq!(loaded, Ok(expected));
        }
        assert_eq!(cache.get(other.as_str()).await.unwrap(), Some(2));
    }
}

async fn what_a_long_name_holds_for_a_scope_is_invalidated(cache: Cache) {
    let text = long("a");
    echo(&cache, &text).await;
    let committed = after_commit(async {
        let name = format!("echo:'{text}'");
        cache.invalidate([name]).await.unwrap();
        Ok::<_, ()>(())
    });
    committed.await.unwrap();
    let before = cache.stats().loads;
    echo(&cache, &text).await;
    assert_eq!(cache.stats().loads, before + 1);
}
