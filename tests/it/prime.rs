//! `prime` and `CachedEntry`: a call tells what is known of it, and its body does not run.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use cache_runtime::{
    Cache, CachedEntry, Codec, Key, KeyPart, Options, after_commit, cache_invalidate, cached,
    prime, with_cache,
};
use cache_tests::{LIMIT, Proxy, RedisServer, Way, patient, until};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::behaviour::{Recorded, builder, on_every_backend};
use crate::gated::{Gate, answer};

on_every_backend! {
    a_primed_value_is_served_and_no_body_runs
    a_primed_value_has_the_tags_of_the_function
    a_primed_none_is_cached_as_the_function_caches_it
    every_shape_can_be_primed
    the_value_decides_how_long_it_is_cached
    what_is_not_cached_removes_the_entry
    a_primed_value_has_the_codec_of_the_function
    a_primed_value_has_the_schema_version_of_the_function
    a_load_that_is_under_way_does_not_store_over_it
    behind_a_fence_nothing_is_primed
    within_after_commit_nothing_is_primed
    a_value_of_another_type_is_refused
    an_entry_knows_its_key_and_its_tags
    an_entry_is_invalidated_by_its_key
    an_entry_is_what_the_call_would_be_served
    an_entry_is_invalidated_when_its_scope_ends
    an_entry_leaves_nothing_behind
    the_call_may_borrow_and_be_of_any_kind
}

#[cached(
    key = "user:<id>", ttl = 60, none_ttl = 5, invalidate_on = ["users", "of:<id>"], cache = cache,
    skip(cache)
)]
async fn user(cache: &Cache, id: u64) -> Result<Option<String>, fmt::Error> {
    let _ = cache;
    panic!("the body for {id} runs")
}

fn name(name: &str) -> String {
    name.to_owned()
}

async fn a_primed_value_is_served_and_no_body_runs(Recorded { cache, events }: Recorded) {
    prime(user(&cache, 1), name("Ada")).await.unwrap();
    assert_eq!(user(&cache, 1).await, Ok(Some(name("Ada"))));
    // As the function returns it within its `Ok`; over what is there.
    prime(user(&cache, 1), Some(name("Grace"))).await.unwrap();
    assert_eq!(user(&cache, 1).await, Ok(Some(name("Grace"))));
    let once = ["fill user:1 ttl=60s", "hit user:1"];
    assert_eq!(events.take(), once.repeat(2));
}

async fn a_primed_value_has_the_tags_of_the_function(cache: Cache) {
    for tag in ["users", "of:1", "user:1"] {
        prime(user(&cache, 1), name("Ada")).await.unwrap();
        cache.invalidate([tag]).await.unwrap();
        let entry = CachedEntry::of(user(&cache, 1)).unwrap();
        assert!(!entry.exists().await.unwrap(), "{tag}");
    }
}

async fn a_primed_none_is_cached_as_the_function_caches_it(Recorded { cache, events }: Recorded) {
    prime(user(&cache, 1), None::<String>).await.unwrap();
    assert_eq!(user(&cache, 1).await, Ok(None));
    assert_eq!(events.take(), ["fill user:1 ttl=5s", "hit user:1"]);
}

/// Functions of each return type; no body may run.
struct Shapes(Cache);

impl Shapes {
    #[cached(key = "plain", cache = self.0, skip(self))]
    async fn plain(&self) -> u64 {
        panic!("the body runs")
    }

    #[cached(key = "shared", cache = self.0, skip(self))]
    async fn shared(&self) -> Arc<u64> {
        panic!("the body runs")
    }

    #[cached(key = "option", cache = self.0, skip(self))]
    async fn option(&self) -> Option<u64> {
        panic!("the body runs")
    }

    #[cached(key = "result", cache = self.0, skip(self))]
    async fn result(&self) -> Result<u64, Rc<str>> {
        panic!("the body runs")
    }

    #[cached(key = "result_option", cache = self.0, skip(self))]
    async fn result_option(&self) -> Result<Option<Arc<u64>>, &str> {
        panic!("the body runs")
    }

    #[cached(key = "generic:<T>", cache = self.0, skip(self))]
    async fn generic<T>(&self) -> T
    where
        T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
    {
        panic!("the body runs")
    }
}

async fn every_shape_can_be_primed(cache: Cache) {
    let shapes = Shapes(cache);
    prime(shapes.plain(), 1).await.unwrap();
    prime(shapes.shared(), Arc::new(2)).await.unwrap();
    prime(shapes.option(), Some(3)).await.unwrap();
    prime(shapes.result(), 4).await.unwrap();
    prime(shapes.result_option(), Some(Arc::new(5)))
        .await
        .unwrap();
    prime(shapes.generic::<Option<u8>>(), Some(6_u8))
        .await
        .unwrap();
    prime(shapes.generic::<u16>(), 7).await.unwrap();
    assert_eq!((shapes.plain().await, *shapes.shared().await), (1, 2));
    assert_eq!(shapes.option().await, Some(3));
    assert_eq!(shapes.result().await, Ok(4));
    assert_eq!(shapes.result_option().await, Ok(Some(Arc::new(5))));
    assert_eq!(shapes.generic::<Option<u8>>().await, Some(6));
    assert_eq!(shapes.generic::<u16>().await, 7);
    prime(shapes.option(), 8).await.unwrap();
    assert_eq!(shapes.option().await, Some(8));
}

async fn the_value_decides_how_long_it_is_cached(Recorded { cache, events }: Recorded) {
    #[cached(
        key = "lease:<id>", cache = cache, skip(cache), ttl = |seconds| Duration::from_secs(*seconds),
        unless = |seconds| *seconds == 7
    )]
    async fn lease(cache: &Cache, id: u64) -> u64 {
        let _ = (cache, id);
        panic!("the body runs")
    }
    #[cached(key = "computed:<id>", cache = cache, skip(cache), ttl = Duration::from_secs(id))]
    async fn computed(cache: &Cache, id: u64) -> u64 {
        let _ = (cache, id);
        panic!("the body runs")
    }
    prime(lease(&cache, 1), 90).await.unwrap();
    prime(lease(&cache, 1), 0).await.unwrap();
    prime(lease(&cache, 1), 7).await.unwrap();
    prime(computed(&cache, 30), 1).await.unwrap();
    let expected = [
        "fill lease:1 ttl=90s",
        "not filled lease:1: unwanted",
        "not filled lease:1: unwanted",
        "fill computed:30 ttl=30s",
    ];
    assert_eq!(events.take(), expected);
}

async fn what_is_not_cached_removes_the_entry(cache: Cache) {
    let shapes = Shapes(cache);
    prime(shapes.option(), 1).await.unwrap();
    prime(shapes.option(), None::<u64>).await.unwrap();
    assert!(!shapes.0.exists("option").await.unwrap());
}

async fn a_primed_value_has_the_codec_of_the_function(cache: Cache) {
    #[cached(key = "rates", cache = cache, skip(cache), codec = Codec::MESSAGE_PACK)]
    async fn rates(cache: &Cache) -> Vec<f64> {
        let _ = cache;
        panic!("the body runs")
    }
    // JSON has no such number.
    prime(rates(&cache), vec![f64::INFINITY]).await.unwrap();
    assert_eq!(rates(&cache).await, [f64::INFINITY]);
}

async fn a_primed_value_has_the_schema_version_of_the_function(cache: Cache) {
    #[cached(key = "row", version = 2, cache = cache, skip(cache))]
    async fn second(cache: &Cache) -> u64 {
        let _ = cache;
        panic!("the body runs")
    }
    #[cached(key = "row", version = 3, cache = cache, skip(cache))]
    async fn third(cache: &Cache) -> u64 {
        let _ = cache;
        3
    }
    prime(second(&cache), 2).await.unwrap();
    assert_eq!(second(&cache).await, 2);
    assert_eq!(third(&cache).await, 3);
}

async fn a_load_that_is_under_way_does_not_store_over_it(cache: Cache) {
    struct Gated(Cache, Gate, Gate);
    impl Gated {
        #[cached(key = "row", cache = self.0, skip(self))]
        async fn read(&self) -> u64 {
            self.1.open();
            self.2.pass().await;
            1
        }
    }
    let row = Arc::new(Gated(cache, Gate::new(), Gate::new()));
    let reader = row.clone();
    let reader = tokio::spawn(async move { reader.read().await });
    row.1.passed().await;
    prime(row.read(), 2).await.unwrap();
    row.2.open();
    assert_eq!(answer(reader).await, 1);
    assert_eq!(row.read().await, 2);
}

async fn behind_a_fence_nothing_is_primed(cache: Cache) {
    #[cache_invalidate("users", fence = "10m", cache = cache)]
    async fn fenced<F: Future>(cache: &Cache, body: F) {
        let _ = cache;
        body.await;
    }
    prime(user(&cache, 1), name("Ada")).await.unwrap();
    fenced(
        &cache,
        Box::pin(async {
            prime(user(&cache, 1), name("Grace")).await.unwrap();
            assert!(!cache.exists("user:1").await.unwrap());
        }),
    )
    .await;
}

async fn within_after_commit_nothing_is_primed(cache: Cache) {
    prime(user(&cache, 1), name("Ada")).await.unwrap();
    let transaction = after_commit(async {
        cache.invalidate(["users"]).await.unwrap();
        prime(user(&cache, 1), name("Grace")).await.unwrap();
        let others = cache.clone();
        let others = tokio::spawn(async move { others.get::<String>("user:1").await });
        assert_eq!(others.await.unwrap().unwrap(), Some(name("Ada")));
        Ok::<_, ()>(())
    });
    transaction.await.unwrap();
    assert!(!cache.exists("user:1").await.unwrap());
}

/// Behind a wrapper, the compiler can't see what the function caches.
async fn a_value_of_another_type_is_refused(cache: Cache) {
    let wrapped = async {
        user(&cache, 1)
            .await
            .map(|user| user.map(|name| name.len()))
    };
    let error = prime(wrapped, 3_usize).await.unwrap_err();
    assert!(error.is_call(), "{error}");
    let said =
        "`prime` was given a `usize` for `user:1`, whose function caches a `alloc::string::String`";
    assert!(error.to_string().starts_with(said), "{error}");
    assert!(!cache.exists("user:1").await.unwrap());
}

async fn an_entry_knows_its_key_and_its_tags(cache: Cache) {
    let entry = CachedEntry::of(user(&cache, 7)).unwrap();
    assert_eq!(entry.key().as_str(), "user:7");
    assert_eq!(entry.tags(), ["users", "of:7"].map(Key::from));
    assert_eq!(entry.ttl().await.unwrap(), None);
    prime(user(&cache, 7), name("Ada")).await.unwrap();
    let left = entry.ttl().await.unwrap().unwrap();
    assert!(left <= Duration::from_secs(60) && left > Duration::from_secs(30));
    assert!(entry.cache().exists("user:7").await.unwrap());
    assert_eq!(entry.get::<String>().await.unwrap(), Some(name("Ada")));
    assert!(entry.get::<u64>().await.unwrap_err().is_codec());
    assert_eq!(
        format!("{entry:?}"),
        r#"CachedEntry { key: Key("user:7"), tags: [Key("users"), Key("of:7")], .. }"#
    );
}

async fn an_entry_is_invalidated_by_its_key(Recorded { cache, events }: Recorded) {
    prime(user(&cache, 1), name("Ada")).await.unwrap();
    prime(user(&cache, 2), name("Grace")).await.unwrap();
    events.take();
    let entry = CachedEntry::of(user(&cache, 1)).unwrap();
    entry.invalidate().await.unwrap();
    assert_eq!(events.take(), ["invalidate user:1"]);
    assert!(!entry.exists().await.unwrap());
    assert_eq!(user(&cache, 2).await, Ok(Some(name("Grace"))));
}

async fn an_entry_is_what_the_call_would_be_served(cache: Cache) {
    let entry = CachedEntry::of(user(&cache, 1)).unwrap();
    // Without the tags of the function, no call is served it.
    cache
        .set("user:1", &name("Ada"), Options::new())
        .await
        .unwrap();
    assert!(!entry.exists().await.unwrap());
    assert_eq!(entry.get::<String>().await.unwrap(), None);
    assert_eq!(entry.ttl().await.unwrap(), None);
    let options = Options::new().tag("users").tag("of:1");
    cache.set("user:1", &name("Ada"), options).await.unwrap();
    assert!(entry.exists().await.unwrap());
    assert_eq!(user(&cache, 1).await, Ok(Some(name("Ada"))));
    prime(user(&cache, 1), None::<String>).await.unwrap();
    assert!(entry.exists().await.unwrap());
    assert_eq!(entry.get::<String>().await.unwrap(), None);
}

async fn an_entry_is_invalidated_when_its_scope_ends(cache: Cache) {
    prime(user(&cache, 1), name("Ada")).await.unwrap();
    let transaction = after_commit(async {
        let entry = CachedEntry::of(user(&cache, 1)).unwrap();
        entry.invalidate().await.unwrap();
        let others = cache.clone();
        let others = tokio::spawn(async move { others.exists("user:1").await });
        assert!(others.await.unwrap().unwrap());
        Ok::<_, ()>(())
    });
    transaction.await.unwrap();
    assert!(!cache.exists("user:1").await.unwrap());
}

async fn an_entry_leaves_nothing_behind(Recorded { cache, events }: Recorded) {
    prime(user(&cache, 1), name("Ada")).await.unwrap();
    for _ in 0..3 {
        CachedEntry::of(user(&cache, 1)).unwrap();
        CachedEntry::of(async { 7 }).unwrap_err();
    }
    assert_eq!(user(&cache, 1).await, Ok(Some(name("Ada"))));
    assert_eq!(events.take(), ["fill user:1 ttl=60s", "hit user:1"]);
}

#[async_trait]
trait Users {
    async fn by_trait(&self, id: &str) -> u64;
}

#[async_trait]
impl<K: KeyPart + Send + Sync> Users for Any<'_, K> {
    #[cached(key = "trait:<self.key>:<id>", cache = self.cache)]
    async fn by_trait(&self, id: &str) -> u64 {
        panic!("the body for {id} runs")
    }
}

struct Any<'a, K> {
    cache: &'a Cache,
    key: K,
}

impl<K: KeyPart> Any<'_, K> {
    #[cached(key = "method:<self.key>:<id>", cache = self.cache)]
    async fn method(&self, id: &mut String) -> u64 {
        id.clear();
        panic!("the body runs")
    }

    #[cached(key = "future:<self.key>:<id>", cache = self.cache)]
    fn future(&self, id: &str) -> impl Future<Output = u64> {
        let id = id.to_owned();
        async move { panic!("the body for {id} runs") }
    }

    #[cached(key = "boxed:<self.key>:<id>", cache = self.cache)]
    fn boxed<'s>(&'s self, id: &'s str) -> Pin<Box<dyn Future<Output = u64> + 's>> {
        Box::pin(async move { panic!("the body for {id} runs") })
    }
}

async fn the_call_may_borrow_and_be_of_any_kind(cache: Cache) {
    let any = Any {
        cache: &cache,
        key: "k",
    };
    let keys = [
        CachedEntry::of(any.method(&mut name("a"))),
        CachedEntry::of(any.future("a")),
        CachedEntry::of(any.boxed("a")),
        CachedEntry::of(any.by_trait("a")),
        CachedEntry::of(async { any.boxed("a").await + 1 }),
    ]
    .map(|entry| entry.unwrap().key().to_string());
    let expected = ["method", "future", "boxed", "trait", "boxed"];
    assert_eq!(keys, expected.map(|kind| format!("{kind}:'k':'a'")));
}

#[tokio::test]
async fn what_is_no_cached_call_is_an_error() {
    async fn not_cached() -> u64 {
        std::future::ready(1).await
    }
    #[cached(key = "some:<n>", condition = n < 10)]
    async fn some(n: u64) -> u64 {
        n
    }
    let (call, error) = (
        "the call of a `#[cached]` function",
        |error: cache_runtime::Error| {
            assert!(error.is_call() && !error.is_codec() && !error.is_config());
            error.to_string()
        },
    );
    let ends = error(CachedEntry::of(not_cached()).unwrap_err());
    assert!(
        ends.contains(call) && ends.contains("it ends without one"),
        "{ends}"
    );
    let waits = async {
        tokio::task::yield_now().await;
        some(1).await
    };
    let waits = error(CachedEntry::of(waits).unwrap_err());
    assert!(
        waits.contains("it waits for something else first"),
        "{waits}"
    );
    let bypasses = error(CachedEntry::of(some(10)).unwrap_err());
    assert!(bypasses.contains("its `condition` is false"), "{bypasses}");
    let primed = error(prime(not_cached(), 1).await.unwrap_err());
    assert!(primed.starts_with("`prime` was given a future"), "{primed}");
    error(prime(some(10), 1).await.unwrap_err());
}

#[tokio::test]
async fn an_entry_is_of_the_cache_of_its_scope() {
    #[cached(key = "prime:scope:<n>")]
    async fn scoped(n: u64) -> u64 {
        n
    }
    let [outside, inside] = ["memory:"; 2].map(|url| builder(url).build().unwrap());
    with_cache(&outside, prime(scoped(1), 1)).await.unwrap();
    prime(with_cache(&inside, scoped(1)), 1).await.unwrap();
    for cache in [outside, inside] {
        assert!(cache.exists("prime:scope:1").await.unwrap());
    }
}

/// A wrapper's own work before the call is done; the body's is not.
#[tokio::test]
async fn what_comes_before_the_call_runs() {
    static BEFORE: AtomicU64 = AtomicU64::new(0);
    #[cached(key = "prime:wrapped:<n>")]
    async fn inner(n: u64) -> u64 {
        BEFORE.fetch_add(100, SeqCst);
        n
    }
    let wrapper = async {
        BEFORE.fetch_add(1, SeqCst);
        inner(7).await
    };
    let entry = CachedEntry::of(wrapper).unwrap();
    assert_eq!(
        (entry.key().as_str(), BEFORE.load(SeqCst)),
        ("prime:wrapped:7", 1)
    );
}

#[tokio::test]
async fn a_value_that_cannot_be_encoded_is_an_error_on_a_server() {
    let server = RedisServer::start();
    let cache = builder(&server.url()).build().unwrap();
    #[cached(key = "rates", cache = cache, skip(cache))]
    async fn rates(cache: &Cache) -> Vec<f64> {
        let _ = cache;
        panic!("the body runs")
    }
    // By a key that is no string.
    #[cached(key = "map", cache = cache, skip(cache))]
    async fn map(cache: &Cache) -> std::collections::BTreeMap<(u8, u8), u8> {
        let _ = cache;
        panic!("the body runs")
    }
    let value = std::collections::BTreeMap::from([((1, 2), 3)]);
    let error = prime(map(&cache), value).await.unwrap_err();
    assert!(error.is_codec(), "{error}");
    prime(rates(&cache), vec![1.5]).await.unwrap();
    assert_eq!(rates(&cache).await, [1.5]);
}

/// The second request of a prime arrives after its caller gave up, and after an invalidation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalidation_that_overtakes_a_prime_keeps_it_from_being_stored() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port()).await;
    let here = patient(&proxy.url()).build().unwrap();
    let elsewhere = patient(&server.url()).build().unwrap();
    here.ping().await.unwrap();
    elsewhere.ping().await.unwrap();
    proxy.hold(Way::ToClient);
    let caller = here.clone();
    let priming = tokio::spawn(async move { prime(user(&caller, 1), name("Ada")).await });
    // The first request has left its lease, and its answer is held.
    until(async || server.keys().contains(&"cache:e:user:1".to_owned())).await;
    elsewhere.invalidate(["user:1"]).await.unwrap();
    proxy.release(Way::ToClient);
    let primed = tokio::time::timeout(LIMIT, priming).await.unwrap().unwrap();
    primed.unwrap();
    assert!(!elsewhere.exists("user:1").await.unwrap());
}

/// The items that `handle` adds.
mod handles {
    use super::*;

    #[cached(
        key = "handle:user:<id>",
        ttl = 60,
        invalidate_on = "handle:users",
        handle
    )]
    async fn find(id: u64) -> Result<Option<String>, fmt::Error> {
        Ok(Some(format!("user {id}")))
    }

    #[cached(key = "handle:<T>:<id.0>:<name>", handle, cache = CACHE, skip(log, N))]
    pub(super) fn generic<T, const N: usize>(
        id @ (_, _): (u64, u64),
        mut name: &str,
        log: impl Extend<usize>,
    ) -> impl Future<Output = Option<T>>
    where
        T: Default + Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
    {
        let mut log = log;
        log.extend([N]);
        name = name.trim();
        let is_named = !name.is_empty();
        async move { (is_named && id.1 > 0).then(T::default) }
    }

    static CACHE: std::sync::LazyLock<Cache> =
        std::sync::LazyLock::new(|| builder("memory:").build().unwrap());

    #[tokio::test]
    async fn the_handle_takes_the_arguments_of_the_function() {
        let cache = builder("memory:").build().unwrap();
        with_cache(&cache, async {
            assert_eq!(find::key(7).as_str(), "handle:user:7");
            let entry = find::entry(7).unwrap();
            assert_eq!(entry.tags(), ["handle:users".into()]);
            assert_eq!(find(7).await, Ok(Some(name("user 7"))));
            find::prime(7, name("Ada")).await.unwrap();
            assert_eq!(find(7).await, Ok(Some(name("Ada"))));
            assert_eq!(find::refresh(7).await, Ok(Some(name("user 7"))));
            assert_eq!(find(7).await, Ok(Some(name("user 7"))));
            find::invalidate(7).await.unwrap();
            assert!(!entry.exists().await.unwrap());
        })
        .await;
        assert_eq!(cache.stats().loads, 2);
    }

    #[tokio::test]
    async fn a_handle_is_as_generic_as_its_function() {
        let key = generic::key::<u64, 3>((1, 2), "a", Vec::new());
        assert_eq!(key.as_str(), "handle:'u64':1:'a'");
        assert_eq!(
            generic::refresh::<u64, 3>((1, 2), "a", Vec::new()).await,
            Some(0)
        );
        generic::prime::<u64, 3, _>((1, 2), "a", Vec::new(), 5_u64)
            .await
            .unwrap();
        assert_eq!(generic::<u64, 3>((1, 2), "a", Vec::new()).await, Some(5));
        let entry = generic::entry::<u64, 3>((1, 2), "a", Vec::new()).unwrap();
        generic::invalidate::<u64, 3>((1, 2), "a", Vec::new())
            .await
            .unwrap();
        assert!(!entry.exists().await.unwrap());
    }
}
