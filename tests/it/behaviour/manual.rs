//! The methods of [`Cache`].

use std::pin::pin;
use std::time::Duration;

use cache_runtime::{Cache, Key, Options, cached, key};
use cache_tests::{poll_once, until};

use super::{Recorded, Subject, builder, counts, on_every_backend, without_watches};

on_every_backend! {
    a_value_that_is_set_is_there_until_it_is_deleted
    ttl_says_how_long_an_entry_still_lives
    what_is_kept_for_ever_outlives_what_is_not
    a_tag_ends_what_is_kept_for_ever
    an_entry_is_compared_with_a_value
    get_or_load_loads_once
    get_or_load_does_not_store_an_error
    invalidate_removes_what_its_keys_and_tags_name
    clear_removes_all_entries
    a_value_of_another_type_is_an_error
    annotated_functions_and_methods_share_entries
    an_invalid_name_does_not_keep_others_from_being_invalidated
}

async fn a_value_that_is_set_is_there_until_it_is_deleted(Recorded { cache, events }: Recorded) {
    let id = 42;
    let key = || key!("user:<id>");
    assert_eq!(key(), Key::from("user:42"));
    assert_eq!(cache.get::<String>(key()).await.unwrap(), None);
    assert!(!cache.exists(key()).await.unwrap());

    let ada = "Ada".to_owned();
    cache.set(key(), &ada, Options::new()).await.unwrap();
    assert!(cache.exists(key()).await.unwrap());
    assert_eq!(cache.get("user:42").await.unwrap(), Some(ada));

    let grace = "Grace".to_owned();
    cache.set(key(), &grace, Options::new()).await.unwrap();
    assert_eq!(cache.get(key()).await.unwrap(), Some(grace));

    assert!(cache.delete(key()).await.unwrap());
    assert!(!cache.delete(key()).await.unwrap());
    assert_eq!(cache.get::<String>(key()).await.unwrap(), None);
    let expected = [
        "miss user:42",
        "fill user:42 ttl=300s",
        "hit user:42",
        "fill user:42 ttl=300s",
        "hit user:42",
        "delete user:42",
        "delete user:42: absent",
        "miss user:42",
    ];
    assert_eq!(events.take(), expected);
}

async fn ttl_says_how_long_an_entry_still_lives(cache: Cache) {
    assert_eq!(cache.ttl("a").await.unwrap(), None);
    let minute = Duration::from_secs(60);
    let options = Options::new().ttl(minute);
    cache.set("a", &1, options).await.unwrap();
    // Jitter takes up to a tenth off, and time passes.
    let ttl = cache.ttl("a").await.unwrap().unwrap();
    assert!((minute / 2..=minute).contains(&ttl), "{ttl:?}");

    let options = Options::new().ttl(Duration::from_millis(1));
    cache.set("b", &1, options).await.unwrap();
    until(async || !cache.exists("b").await.unwrap()).await;
    assert_eq!(cache.get::<i32>("b").await.unwrap(), None);
    assert_eq!(cache.ttl("b").await.unwrap(), None);
}

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

async fn what_is_kept_for_ever_outlives_what_is_not(cache: Cache) {
    let hour = Duration::from_secs(3600);
    let forever = || Options::new().forever().local_ttl(hour).tag("all");
    cache.set("set", &1, forever()).await.unwrap();
    let load = async { Ok::<_, ()>(2) };
    let got = cache.get_or_load("loaded", forever(), load).await;
    assert_eq!(got, Ok(2));
    let stale = forever().stale_if_error(YEAR).early_refresh(1.0);
    cache.set("stale", &3, stale).await.unwrap();
    for (key, value) in [("set", 1), ("loaded", 2), ("stale", 3)] {
        assert_eq!(cache.get::<i32>(key).await.unwrap(), Some(value), "{key}");
        // Jitter takes up to a tenth off.
        let left = cache.ttl(key).await.unwrap().unwrap();
        assert!((YEAR * 85..=YEAR * 100).contains(&left), "{key}: {left:?}");
    }
    // The second time by a copy, where there are copies.
    for _ in 0..2 {
        let load = async { Err::<i32, _>("it is loaded again") };
        let got = cache.get_or_load("set", forever(), load).await;
        assert_eq!(got, Ok(1));
    }
}

async fn a_tag_ends_what_is_kept_for_ever(cache: Cache) {
    let forever = || Options::new().forever().tag("all");
    // Another entry with the tag, which lives less long, and was there before.
    let short = Options::new().ttl(Duration::from_secs(60)).tag("all");
    cache.set("short", &1, short).await.unwrap();
    cache.set("a", &1, forever()).await.unwrap();
    assert!(cache.exists("a").await.unwrap());
    cache.invalidate(["all"]).await.unwrap();
    assert!(!cache.exists("a").await.unwrap());
    cache.set("a", &2, forever()).await.unwrap();
    assert_eq!(cache.get::<i32>("a").await.unwrap(), Some(2));
    cache.invalidate(["a"]).await.unwrap();
    assert!(!cache.exists("a").await.unwrap());
}

async fn an_entry_is_compared_with_a_value(cache: Cache) {
    let ada = "Ada".to_owned();
    let before = counts(&cache);
    assert!(!cache.exists_with("name", &ada).await.unwrap());
    cache.set("name", &ada, Options::new()).await.unwrap();
    assert!(cache.exists_with("name", &ada).await.unwrap());
    assert!(!cache.exists_with("name", &"Eve".to_owned()).await.unwrap());
    assert!(cache.exists_with("name", &7).await.unwrap_err().is_codec());
    assert!(cache.exists_with("", &7).await.unwrap_err().is_key());
    cache.invalidate(["name"]).await.unwrap();
    assert!(!cache.exists_with("name", &ada).await.unwrap());
    assert_eq!(counts(&cache), before);
}

async fn get_or_load_loads_once(Recorded { cache, events }: Recorded) {
    for expected in [1, 1] {
        let load = async { Ok::<_, ()>(1) };
        let got = cache.get_or_load("a", Options::new(), load).await;
        assert_eq!(got, Ok(expected));
    }
    assert_eq!(
        events.take(),
        ["miss a", "load a", "fill a ttl=300s", "hit a"]
    );
}

async fn get_or_load_does_not_store_an_error(Recorded { cache, events }: Recorded) {
    let fails = async { Err::<i32, _>("no such table") };
    let got = cache.get_or_load("a", Options::new(), fails).await;
    assert_eq!(got, Err("no such table"));
    let works = async { Ok::<_, &str>(1) };
    let got = cache.get_or_load("a", Options::new(), works).await;
    assert_eq!(got, Ok(1));
    assert_eq!(cache.get("a").await.unwrap(), Some(1));
    let expected = [
        "miss a",
        "load a",
        "load failed a",
        "miss a",
        "load a",
        "fill a ttl=300s",
        "hit a",
    ];
    assert_eq!(without_watches(events.take()), expected);
}

async fn invalidate_removes_what_its_keys_and_tags_name(Recorded { cache, events }: Recorded) {
    let of_a_team = || Options::new().tag("team:7").tag("users");
    cache.set("user:1", &1, of_a_team()).await.unwrap();
    cache.set("user:2", &2, of_a_team()).await.unwrap();
    cache
        .set("user:3", &3, Options::new().tag("users"))
        .await
        .unwrap();
    cache.set("other", &4, Options::new()).await.unwrap();
    let there = async || {
        let mut there = Vec::new();
        for key in ["user:1", "user:2", "user:3", "other"] {
            there.push(cache.exists(key).await.unwrap());
        }
        there
    };
    events.take();
    cache.invalidate(["user:1"]).await.unwrap();
    assert_eq!(there().await, [false, true, true, true]);
    cache.invalidate(["team:7", "unused"]).await.unwrap();
    assert_eq!(there().await, [false, false, true, true]);
    cache
        .invalidate([Key::from("users"), Key::from("other")])
        .await
        .unwrap();
    assert_eq!(there().await, [false; 4]);
    let expected = [
        "invalidate user:1",
        "invalidate team:7 unused",
        "invalidate users other",
    ];
    assert_eq!(events.take(), expected);
}

async fn clear_removes_all_entries(Recorded { cache, events }: Recorded) {
    for i in 0..1500 {
        let tagged = Options::new().tag(key!("tag:<i>"));
        cache.set(key!("entry:<i>"), &i, tagged).await.unwrap();
    }
    events.take();
    cache.clear().await.unwrap();
    assert_eq!(events.take(), ["clear"]);
    for i in 0..1500 {
        assert!(!cache.exists(key!("entry:<i>")).await.unwrap());
    }
    assert_eq!(cache.stats().entries, 0);
}

async fn a_value_of_another_type_is_an_error(Recorded { cache, events }: Recorded) {
    cache.set("a", &1, Options::new()).await.unwrap();
    let error = cache.get::<String>("a").await.unwrap_err();
    assert!(error.is_codec(), "{error:?}");
    assert!(error.to_string().contains("`a`"), "{error}");
    assert_eq!(cache.get("a").await.unwrap(), Some(1), "it is still there");
    let failed = format!("fail: {error}");
    assert_eq!(
        events.take(),
        ["fill a ttl=300s", "miss a", &failed, "hit a"]
    );
}

#[cached(key = "user:<id>", ttl = 60, cache = cache, skip(cache))]
async fn user(cache: &Cache, id: u64) -> Result<String, std::io::Error> {
    Ok(format!("user {id} of the database"))
}

async fn annotated_functions_and_methods_share_entries(Recorded { cache, events }: Recorded) {
    let id = 1;
    let by_hand = "set".to_owned();
    let set = cache.set(key!("user:<id>"), &by_hand, Options::new());
    set.await.unwrap();
    assert_eq!(user(&cache, 1).await.unwrap(), "set");
    cache.invalidate([key!("user:<id>")]).await.unwrap();
    assert_eq!(user(&cache, 1).await.unwrap(), "user 1 of the database");
    let got = cache.get::<String>("user:1").await.unwrap();
    assert_eq!(got.as_deref(), Some("user 1 of the database"));
    let expected = [
        "fill user:1 ttl=300s",
        "hit user:1",
        "invalidate user:1",
        "miss user:1",
        "load user:1",
        "fill user:1 ttl=60s",
        "hit user:1",
    ];
    assert_eq!(events.take(), expected);
}

async fn an_invalid_name_does_not_keep_others_from_being_invalidated(
    Recorded { cache, events }: Recorded,
) {
    cache.set("a", &1, Options::new()).await.unwrap();
    cache.set("b", &1, Options::new()).await.unwrap();
    events.take();
    let error = cache.invalidate(["a", "", "b"]).await.unwrap_err();
    assert!(error.is_key(), "{error:?}");
    assert_eq!(events.take(), ["invalidate a b"]);
    assert!(!cache.exists("a").await.unwrap());
    assert!(!cache.exists("b").await.unwrap());
}

/// On a server it is replaced: `bad_input` has that test. In process it is the value of another
/// function, which goes on using it.
#[tokio::test]
async fn in_process_a_value_of_another_type_is_left_alone() {
    let Recorded { cache, events } = Subject::new(builder("memory:"));
    cache.set("a", &1, Options::new()).await.unwrap();
    for _ in 0..2 {
        let load = async { Ok::<_, ()>("text".to_owned()) };
        let got = cache.get_or_load("a", Options::new(), load).await;
        assert_eq!(got.as_deref(), Ok("text"));
    }
    assert_eq!(cache.get("a").await.unwrap(), Some(1));
    let expected = [
        "fill a ttl=300s",
        "other type a: not alloc::string::String",
        "miss a",
        "load a",
        "not filled a: unstorable",
        "miss a",
        "load a",
        "not filled a: unstorable",
        "hit a",
    ];
    assert_eq!(events.take(), expected);
}

/// A value that uses the cache which drops it.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct UsesItsCache;

static DROPS: std::sync::OnceLock<Cache> = std::sync::OnceLock::new();

impl Drop for UsesItsCache {
    fn drop(&mut self) {
        if let Some(cache) = DROPS.get() {
            let delete = pin!(cache.delete("uses its cache"));
            let _ = poll_once(delete);
        }
    }
}

#[tokio::test]
async fn a_value_may_use_its_cache_while_it_is_dropped() {
    let cache = builder("memory:").build().unwrap();
    let cache = DROPS.get_or_init(|| cache);
    for _ in 0..2 {
        let value = UsesItsCache;
        let set = cache.set("uses its cache", &value, Options::new());
        set.await.unwrap();
    }
    cache.clear().await.unwrap();
}
