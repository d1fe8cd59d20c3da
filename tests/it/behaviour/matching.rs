//! Invalidation of all names that match a pattern.

use std::pin::pin;

use cache_runtime::{Options, Removed, after_commit, cache_invalidate, cached, key};
use cache_tests::{poll_once, until};

use super::{Recorded, counts, on_every_backend};
use crate::gated::{Gate, Row, answer};

on_every_backend! {
    entries_whose_keys_match_are_invalidated_and_no_others
    entries_with_a_tag_that_matches_are_not_served
    characters_of_values_match_only_themselves
    many_entries_are_removed_and_the_caller_hears_how_far_that_is
    a_load_under_way_is_not_stored_if_its_key_matches
    a_load_under_way_is_not_stored_if_its_tag_matches
    a_fence_stands_though_its_name_matches
    within_after_commit_a_pattern_is_held_until_the_scope_ends
    a_pattern_that_is_dropped_is_invalidated_in_the_background
    an_empty_pattern_is_an_error
    entries_whose_keys_match_are_counted_and_stay
}

async fn entries_whose_keys_match_are_invalidated_and_no_others(
    Recorded { cache, events }: Recorded,
) {
    let keys = ["user:1", "user:2", "user:2:posts", "users", "post:1"];
    let there = async || {
        let mut there = Vec::new();
        for key in keys {
            there.push(cache.exists(key).await.unwrap());
        }
        there
    };
    for key in keys {
        cache.set(key, &1, Options::new()).await.unwrap();
    }
    events.take();
    assert_eq!(cache.invalidate_matching("user:*:posts").await.unwrap(), 1);
    assert_eq!(there().await, [true, true, false, true, true]);
    assert_eq!(cache.invalidate_matching("user:*").await.unwrap(), 2);
    assert_eq!(there().await, [false, false, false, true, true]);
    assert_eq!(cache.invalidate_matching("user:*").await.unwrap(), 0);
    assert_eq!(cache.invalidate_matching("post:1").await.unwrap(), 1);
    assert_eq!(cache.invalidate_matching("*").await.unwrap(), 1);
    assert_eq!(there().await, [false; 5]);
    let expected = [
        "invalidate matching user:*:posts: 1",
        "invalidate matching user:*: 2",
        "invalidate matching user:*: 0",
        "invalidate matching post:1: 1",
        "invalidate matching *: 1",
    ];
    assert_eq!(events.take(), expected);
    assert_eq!(counts(&cache), [0, 0, 0]);
}

async fn entries_with_a_tag_that_matches_are_not_served(Recorded { cache, events }: Recorded) {
    let of_team = |team: u64| Options::new().tag(key!("team:<team>")).tag("users");
    for (id, team) in [(1, 7), (2, 8)] {
        cache
            .set(key!("user:<id>"), &1, of_team(team))
            .await
            .unwrap();
    }
    cache.set("team:9", &1, Options::new()).await.unwrap();
    events.take();
    // Only the entry whose key matches is counted.
    assert_eq!(cache.invalidate_matching("team:*").await.unwrap(), 1);
    for key in ["user:1", "user:2", "team:9"] {
        assert!(!cache.exists(key).await.unwrap(), "{key}");
    }
    assert_eq!(events.take(), ["invalidate matching team:*: 1"]);
    cache.set("user:1", &1, of_team(7)).await.unwrap();
    assert_eq!(cache.invalidate_matching("tea*").await.unwrap(), 0);
    assert!(!cache.exists("user:1").await.unwrap());
}

async fn characters_of_values_match_only_themselves(Recorded { cache, .. }: Recorded) {
    let logins = ["*", "a*", "ab", r"\", "[a-z]*", "?", "'"];
    for login in logins {
        cache
            .set(key!("user:<login>:x"), &1, Options::new())
            .await
            .unwrap();
    }
    for login in logins {
        let pattern = key!("user:<login>:*");
        assert_eq!(
            cache.invalidate_matching(&pattern).await.unwrap(),
            1,
            "{pattern}"
        );
        assert!(!cache.exists(key!("user:<login>:x")).await.unwrap());
    }
    for key in ["a?c", "abc", "[a]", "a"] {
        cache.set(key, &1, Options::new()).await.unwrap();
    }
    assert_eq!(cache.invalidate_matching("a?*").await.unwrap(), 1);
    assert_eq!(cache.invalidate_matching("[a]").await.unwrap(), 1);
    assert!(cache.exists("abc").await.unwrap() && cache.exists("a").await.unwrap());
}

async fn many_entries_are_removed_and_the_caller_hears_how_far_that_is(
    Recorded { cache, .. }: Recorded,
) {
    let numbers: Vec<u64> = (0..3_000).collect();
    let tagged = || Options::new().tag("numbers");
    let entries = numbers
        .iter()
        .map(|number| (key!("number:<number>"), number));
    cache.set_many(entries, tagged()).await.unwrap();
    cache.set("other", &1, tagged()).await.unwrap();
    let mut told: Vec<Removed> = Vec::new();
    let removed = cache.invalidate_matching_with("number:*", |removed| told.push(removed));
    assert_eq!(removed.await.unwrap(), 3_000);
    assert!(told.is_sorted_by_key(|removed| (removed.looked_at, removed.entries)));
    assert!(told.len() > 1, "{told:?}");
    let last = told.last().unwrap();
    assert_eq!(last.entries, 3_000);
    assert!(last.looked_at >= 3_000, "{last:?}");
    let keys = numbers.iter().map(|number| key!("number:<number>"));
    let left = cache.get_many::<u64>(keys).await.unwrap();
    assert!(left.iter().all(Option::is_none));
    assert!(cache.exists("other").await.unwrap());
}

async fn a_load_under_way_is_not_stored_if_its_key_matches(Recorded { cache, .. }: Recorded) {
    load_is_not_stored(&Row::new(&cache), &cache, "ro*").await;
}

async fn a_load_under_way_is_not_stored_if_its_tag_matches(Recorded { cache, .. }: Recorded) {
    load_is_not_stored(&Row::new(&cache), &cache, "rows*").await;
}

async fn load_is_not_stored(
    row: &std::sync::Arc<Row>,
    cache: &cache_runtime::Cache,
    pattern: &str,
) {
    let before = row.reader();
    row.load_started().await;
    row.set_silently(2);
    cache.invalidate_matching(pattern).await.unwrap();
    // A caller that comes now does not share that load.
    let after = row.reader();
    row.load_started().await;
    row.end_loads();
    assert_eq!((answer(before).await, answer(after).await), (1, 2));
    assert_eq!(row.read().await, 2);
    assert!(row.loads() <= 3);
}

/// A row that an update changes behind a fence.
struct Fenced {
    cache: cache_runtime::Cache,
    may_end: Gate,
}

impl Fenced {
    #[cache_invalidate("row", fence = "60s", cache = self.cache)]
    async fn write(&self) -> Result<(), String> {
        self.may_end.pass().await;
        Ok(())
    }

    #[cached(key = "row", cache = self.cache)]
    async fn read(&self) -> u64 {
        1
    }
}

async fn a_fence_stands_though_its_name_matches(Recorded { cache, events }: Recorded) {
    let fenced = Fenced {
        cache: cache.clone(),
        may_end: Gate::new(),
    };
    {
        let mut update = pin!(fenced.write());
        let fenced_by_now = async { events.until("fence row").await };
        tokio::select! {
            _ = &mut update => panic!("it waits"),
            () = fenced_by_now => {}
        }
        assert_eq!(cache.invalidate_matching("*").await.unwrap(), 0);
        fenced.read().await;
        assert!(!cache.exists("row").await.unwrap());
        fenced.may_end.open();
        update.await.unwrap();
    }
    until(async || {
        fenced.read().await;
        cache.exists("row").await.unwrap()
    })
    .await;
}

async fn within_after_commit_a_pattern_is_held_until_the_scope_ends(
    Recorded { cache, events }: Recorded,
) {
    for (key, result) in [("user:1", Ok(())), ("user:2", Err("rolled back"))] {
        cache.set(key, &1, Options::new()).await.unwrap();
        let output = after_commit(async {
            assert_eq!(cache.invalidate_matching("user:*").await.unwrap(), 0);
            assert_eq!(cache.invalidate_matching("user:*").await.unwrap(), 0);
            events.take();
            result
        });
        assert_eq!(output.await, result);
        assert_eq!(events.take(), ["invalidate matching user:*: 1"]);
        assert!(!cache.exists(key).await.unwrap());
    }
    cache.set("user:3", &1, Options::new()).await.unwrap();
    {
        let mut scope = pin!(after_commit(async {
            cache.invalidate_matching("user:*").await.unwrap();
            std::future::pending::<Result<(), ()>>().await
        }));
        assert!(poll_once(scope.as_mut()).is_pending());
    }
    until(async || !cache.exists("user:3").await.unwrap()).await;
}

async fn a_pattern_that_is_dropped_is_invalidated_in_the_background(
    Recorded { cache, .. }: Recorded,
) {
    for number in 0..300 {
        let key = key!("number:<number>");
        cache.set(key, &1, Options::new()).await.unwrap();
    }
    {
        let invalidation = pin!(cache.invalidate_matching("number:*"));
        let _ = poll_once(invalidation);
    }
    // From now on, on every backend.
    assert_eq!(cache.get::<i32>("number:7").await.unwrap(), None);
    cache.flush(cache_tests::LIMIT).await.unwrap();
    assert_eq!(cache.health().waiting, 0);
    assert_eq!(cache.invalidate_matching("number:*").await.unwrap(), 0);
}

async fn an_empty_pattern_is_an_error(Recorded { cache, .. }: Recorded) {
    cache.set("a", &1, Options::new()).await.unwrap();
    let error = cache.invalidate_matching("").await.unwrap_err();
    assert!(error.is_key(), "{error:?}");
    assert!(cache.exists("a").await.unwrap());
}

async fn entries_whose_keys_match_are_counted_and_stay(Recorded { cache, events }: Recorded) {
    for key in ["user:1", "user:2", "user:2:posts", "users", "a?:1"] {
        let options = Options::new().tag("user:tag");
        cache.set(key, &1, options).await.unwrap();
    }
    // What a program keeps beside its entries is none.
    let texts = cache.strings("user").unwrap();
    texts.set("1", "Ada", None).await.unwrap();
    events.take();
    for (pattern, entries) in [
        ("user:*", 3),
        ("user:*:posts", 1),
        ("user:1", 1),
        ("a?:*", 1),
        ("a*:*:*", 0),
        ("*", 5),
    ] {
        let counted = cache.count_matching(pattern).await.unwrap();
        assert_eq!(counted, entries, "{pattern}");
    }
    assert_eq!(cache.scope("user").count().await.unwrap(), 3);
    assert_eq!(events.take(), [""; 0]);
    assert_eq!(counts(&cache), [0, 0, 0]);
    assert!(cache.count_matching("").await.unwrap_err().is_key());
}
