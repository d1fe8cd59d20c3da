//! Which values are cached, under which key, and for how long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cache_runtime::{Cache, KeyPart, Options, cached};
use cache_tests::until;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Recorded, counts, on_every_backend, without_watches};

on_every_backend! {
    a_hit_loads_nothing
    an_entry_ends_with_its_ttl
    a_none_is_loaded_each_time
    a_none_with_a_ttl_of_its_own_is_a_hit
    a_none_inside_a_some_is_a_value
    an_error_is_loaded_each_time
    an_alias_of_result_is_a_result
    arguments_are_borrowed_and_told_apart
    a_generic_function_has_an_entry_for_each_type
    early_returns_are_cached
    values_come_back_as_they_were
    floats_come_back_to_the_last_bit
    stats_count_each_function
}

#[cached(key = "double:<n>", ttl = 60, cache = cache, skip(cache))]
async fn double(cache: &Cache, n: i64) -> i64 {
    n * 2
}

async fn a_hit_loads_nothing(Recorded { cache, events }: Recorded) {
    for (n, doubled) in [(4, 8), (4, 8), (-4, -8), (4, 8)] {
        assert_eq!(double(&cache, n).await, doubled);
    }
    let expected = [
        "miss double:4",
        "load double:4",
        "fill double:4 ttl=60s",
        "hit double:4",
        "miss double:'-4'",
        "load double:'-4'",
        "fill double:'-4' ttl=60s",
        "hit double:4",
    ];
    assert_eq!(events.take(), expected);
}

const SHORT: Duration = Duration::from_millis(500);

#[cached(key = "now", ttl = "500ms", cache = cache, skip(cache))]
async fn loaded_at(cache: &Cache) -> Duration {
    std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap()
}

async fn an_entry_ends_with_its_ttl(cache: Cache) {
    // On a busy machine an entry may end before it is read: then the next one is watched.
    until(async || {
        let first = loaded_at(&cache).await;
        let stored = Instant::now();
        loop {
            let asked = stored.elapsed();
            if loaded_at(&cache).await != first {
                break;
            }
            assert!(asked < SHORT, "served {asked:?} after it was stored");
            tokio::task::yield_now().await;
        }
        cache.stats().hits > 0
    })
    .await;
}

#[cached(key = "none", ttl = 60, cache = cache, skip(cache))]
async fn none(cache: &Cache) -> Option<u8> {
    None
}

#[cached(key = "ok-none", ttl = 60, cache = cache, skip(cache))]
async fn ok_none(cache: &Cache) -> Result<Option<u8>, String> {
    Ok(None)
}

async fn a_none_is_loaded_each_time(Recorded { cache, events }: Recorded) {
    for _ in 0..2 {
        assert_eq!(none(&cache).await, None);
        let expected = ["miss none", "load none", "not filled none: unwanted"];
        assert_eq!(events.take(), expected);
        assert_eq!(ok_none(&cache).await, Ok(None));
        let expected = [
            "miss ok-none",
            "load ok-none",
            "not filled ok-none: unwanted",
        ];
        assert_eq!(events.take(), expected);
    }
}

#[cached(key = "kept-none", ttl = 60, none_ttl = 10, cache = cache, skip(cache))]
async fn kept_none(cache: &Cache) -> Option<u8> {
    None
}

#[cached(key = "kept-ok-none", none_ttl = 60, cache = cache, skip(cache))]
async fn kept_ok_none(cache: &Cache) -> Result<Option<u8>, String> {
    Ok(None)
}

async fn a_none_with_a_ttl_of_its_own_is_a_hit(Recorded { cache, events }: Recorded) {
    for _ in 0..2 {
        assert_eq!(kept_none(&cache).await, None);
    }
    let expected = [
        "miss kept-none",
        "load kept-none",
        "fill kept-none ttl=10s",
        "hit kept-none",
    ];
    assert_eq!(events.take(), expected);
    for _ in 0..2 {
        assert_eq!(kept_ok_none(&cache).await, Ok(None));
    }
    let expected = [
        "miss kept-ok-none",
        "load kept-ok-none",
        "fill kept-ok-none ttl=60s",
        "hit kept-ok-none",
    ];
    assert_eq!(events.take(), expected);
}

#[cached(key = "some-none", ttl = 60, cache = cache, skip(cache))]
async fn some_none(cache: &Cache) -> Option<Option<u8>> {
    Some(None)
}

#[cached(key = "ok-some-none", ttl = 60, cache = cache, skip(cache))]
async fn ok_some_none(cache: &Cache) -> Result<Option<Option<u8>>, String> {
    Ok(Some(None))
}

async fn a_none_inside_a_some_is_a_value(cache: Cache) {
    for _ in 0..2 {
        assert_eq!(some_none(&cache).await, Some(None));
        assert_eq!(ok_some_none(&cache).await, Ok(Some(None)));
    }
    assert_eq!(counts(&cache), [2, 2, 2]);
}

#[cached(key = "error", ttl = 60, cache = cache, skip(cache))]
async fn error(cache: &Cache) -> Result<u8, String> {
    Err("no such table".to_owned())
}

async fn an_error_is_loaded_each_time(Recorded { cache, events }: Recorded) {
    for _ in 0..2 {
        assert_eq!(error(&cache).await, Err("no such table".to_owned()));
        let expected = ["miss error", "load error", "load failed error"];
        assert_eq!(without_watches(events.take()), expected);
    }
}

type QueryResult<T> = std::result::Result<Option<T>, std::num::ParseIntError>;

#[cached(key = "number:<text>", ttl = 60, cache = cache, skip(cache))]
async fn number(cache: &Cache, text: &str) -> QueryResult<u32> {
    let number = text.parse()?;
    Ok(Some(number).filter(|number| *number > 0))
}

async fn an_alias_of_result_is_a_result(Recorded { cache, events }: Recorded) {
    assert!(number(&cache, "x").await.is_err());
    assert_eq!(number(&cache, "0").await, Ok(None));
    for _ in 0..2 {
        assert_eq!(number(&cache, "7").await, Ok(Some(7)));
    }
    let expected = [
        "miss number:'x'",
        "load number:'x'",
        "load failed number:'x'",
        "miss number:'0'",
        "load number:'0'",
        "not filled number:'0': unwanted",
        "miss number:'7'",
        "load number:'7'",
        "fill number:'7' ttl=60s",
        "hit number:'7'",
    ];
    assert_eq!(events.take(), expected);
}

#[cached(key = "joined:<words>:<last>", ttl = 60, cache = cache, skip(cache))]
async fn joined(cache: &Cache, words: &[&str], last: Option<&str>) -> String {
    let words: Vec<&str> = words.iter().copied().chain(last).collect();
    words.join("+")
}

async fn arguments_are_borrowed_and_told_apart(cache: Cache) {
    let calls: [(&[&str], Option<&str>, &str); 8] = [
        (&["a", "b"], None, "a+b"),
        (&["a"], Some("b"), "a+b"),
        (&["a,b"], None, "a,b"),
        (&["a','b"], None, "a','b"),
        (&["a:b"], None, "a:b"),
        (&[], Some("()"), "()"),
        (&[""], None, ""),
        (&[], None, ""),
    ];
    for _ in 0..2 {
        for (words, last, expected) in calls {
            assert_eq!(joined(&cache, words, last).await, expected);
        }
    }
    assert_eq!(counts(&cache), [8, 8, 8]);
}

#[cached(key = "made:<T>:<id>", ttl = 60, cache = cache, skip(cache, K))]
async fn made<T, K>(cache: &Cache, id: K) -> T
where
    T: From<u8> + Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
    K: KeyPart,
{
    T::from(7)
}

async fn a_generic_function_has_an_entry_for_each_type(cache: Cache) {
    for _ in 0..2 {
        assert_eq!(made::<u64, _>(&cache, 1).await, 7);
        assert_eq!(made::<char, _>(&cache, 1).await, '\u{7}');
        assert_eq!(made::<char, _>(&cache, "1").await, '\u{7}');
    }
    assert_eq!(counts(&cache), [3, 3, 3]);
}

#[cached(key = "sign:<n>", ttl = 60, cache = cache, skip(cache))]
async fn sign(cache: &Cache, n: i32) -> Result<char, ()> {
    if n < 0 {
        return Ok('-');
    }
    u32::try_from(n).map_err(|_| ())?;
    Ok('+')
}

async fn early_returns_are_cached(Recorded { cache, events }: Recorded) {
    for _ in 0..2 {
        assert_eq!(sign(&cache, -1).await, Ok('-'));
    }
    let expected = [
        "miss sign:'-1'",
        "load sign:'-1'",
        "fill sign:'-1' ttl=60s",
        "hit sign:'-1'",
    ];
    assert_eq!(events.take(), expected);
    assert_eq!(sign(&cache, 1).await, Ok('+'));
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Account {
    name: String,
    balance: i128,
    ratio: f64,
    parent: Option<Box<Account>>,
}

#[cached(key = "account:<id>", ttl = 60, cache = cache, skip(cache))]
async fn account(cache: &Cache, id: u8) -> Arc<Account> {
    Arc::new(sample(Some(Box::new(sample(None)))))
}

fn sample(parent: Option<Box<Account>>) -> Account {
    Account {
        name: "Zoë \u{0}\"\\ 🦀".to_owned(),
        balance: i128::MIN,
        ratio: 0.1 + 0.2,
        parent,
    }
}

async fn values_come_back_as_they_were(cache: Cache) {
    for _ in 0..2 {
        let expected = sample(Some(Box::new(sample(None))));
        assert_eq!(*account(&cache, 1).await, expected);
    }
    assert_eq!(counts(&cache), [1, 1, 1]);
}

async fn stats_count_each_function(cache: Cache) {
    for _ in 0..3 {
        double(&cache, 1).await;
    }
    let _ = error(&cache).await;
    let mut seen: Vec<_> = cache
        .stats()
        .sites
        .into_iter()
        .map(|site| {
            assert!(site.file.ends_with("values.rs") && site.line > 1);
            let function = site.function.rsplit("::").next().unwrap();
            let counts = [site.hits, site.misses, site.loads, site.errors];
            (function, site.template, counts)
        })
        .collect();
    seen.sort_unstable();
    let expected = [
        ("double", "double:<n>", [2, 1, 1, 0]),
        ("error", "error", [0, 1, 1, 0]),
    ];
    assert_eq!(seen, expected);
}

async fn floats_come_back_to_the_last_bit(cache: Cache) {
    // Many fractions whose denominator is a prime have no short decimal form.
    let floats: Vec<f64> = (1..2_000).map(|n| f64::from(n) / 1_999.0).collect();
    cache.set("floats", &floats, Options::new()).await.unwrap();
    let back = cache.get::<Vec<f64>>("floats").await.unwrap().unwrap();
    let bits = |floats: &[f64]| floats.iter().map(|f| f.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&back), bits(&floats));
}
