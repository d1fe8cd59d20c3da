//! The API by hand for several keys at once: as for each key singly.

use std::pin::pin;

use cache_runtime::{Cache, Options, after_commit, cache_invalidate, key};

use super::{Recorded, on_every_backend};
use crate::gated::{Gate, Row, answer};

on_every_backend! {
    get_many_returns_the_values_in_the_order_of_the_keys
    get_many_checks_the_tags_of_each_entry
    get_many_reads_more_keys_than_one_request_has
    get_many_fails_if_one_value_is_of_another_type
    set_many_stores_each_value
    set_many_stores_the_last_value_of_a_key
    set_many_stores_values_of_any_size
    set_many_stores_nothing_behind_a_fence
    a_load_under_way_does_not_store_over_set_many_and_delete_many
    delete_many_says_which_entries_there_were
    within_after_commit_many_keys_are_invalidated_when_the_scope_ends
    one_invalid_name_fails_for_all
}

/// Three users of two teams.
async fn users(cache: &Cache) {
    for (id, team) in [(1, 7), (2, 8), (3, 7)] {
        let options = Options::new().tag(key!("team:<team>")).tag("users");
        cache.set(key!("user:<id>"), &id, options).await.unwrap();
    }
}

async fn get_many_returns_the_values_in_the_order_of_the_keys(
    Recorded { cache, events }: Recorded,
) {
    users(&cache).await;
    cache.set("other", &4, Options::new()).await.unwrap();
    events.take();
    let keys = ["other", "user:3", "user:9", "user:1", "user:3"];
    let got = cache.get_many::<i32>(keys).await.unwrap();
    assert_eq!(got, [Some(4), Some(3), None, Some(1), Some(3)]);
    let expected = [
        "hit other",
        "hit user:3",
        "miss user:9",
        "hit user:1",
        "hit user:3",
    ];
    assert_eq!(events.take(), expected);
    let none: [&str; 0] = [];
    assert!(cache.get_many::<i32>(none).await.unwrap().is_empty());
    assert!(events.take().is_empty());
}

async fn get_many_checks_the_tags_of_each_entry(Recorded { cache, .. }: Recorded) {
    let keys = ["user:1", "user:2", "user:3"];
    users(&cache).await;
    cache.invalidate(["team:7"]).await.unwrap();
    let got = cache.get_many::<i32>(keys).await.unwrap();
    assert_eq!(got, [None, Some(2), None]);
    users(&cache).await;
    cache.invalidate(["user:1"]).await.unwrap();
    let got = cache.get_many::<i32>(keys).await.unwrap();
    assert_eq!(got, [None, Some(2), Some(3)]);
    cache.invalidate(["users"]).await.unwrap();
    let got = cache.get_many::<i32>(keys).await.unwrap();
    assert_eq!(got, [None; 3]);
}

async fn get_many_reads_more_keys_than_one_request_has(Recorded { cache, .. }: Recorded) {
    let numbers: Vec<u64> = (0..700).collect();
    let entries = numbers
        .iter()
        .map(|number| (key!("number:<number>"), number));
    let options = Options::new().tag("numbers");
    cache.set_many(entries, options).await.unwrap();
    let keys = numbers.iter().map(|number| key!("number:<number>"));
    let got = cache.get_many::<u64>(keys.clone()).await.unwrap();
    assert!(got.into_iter().eq(numbers.iter().copied().map(Some)));
    let deleted = cache.delete_many(keys).await.unwrap();
    assert!(deleted.len() == 700 && deleted.iter().all(|existed| *existed));
}

async fn get_many_fails_if_one_value_is_of_another_type(Recorded { cache, events }: Recorded) {
    cache.set("a", &1, Options::new()).await.unwrap();
    cache
        .set("b", &"text".to_owned(), Options::new())
        .await
        .unwrap();
    events.take();
    let error = cache.get_many::<i32>(["b", "a"]).await.unwrap_err();
    assert!(error.is_codec(), "{error:?}");
    let failed = format!("fail: {error}");
    assert_eq!(events.take(), ["miss b", &failed, "hit a"]);
}

async fn set_many_stores_each_value(Recorded { cache, events }: Recorded) {
    cache.set("b", &0, Options::new().tag("old")).await.unwrap();
    events.take();
    let entries = [("a", &1), ("b", &2), ("c", &3)];
    let options = || Options::new().tag("letters").tag("small");
    cache.set_many(entries, options()).await.unwrap();
    let expected = ["fill a ttl=300s", "fill b ttl=300s", "fill c ttl=300s"];
    assert_eq!(events.take(), expected);
    cache.invalidate(["old"]).await.unwrap();
    let keys = ["a", "b", "c"];
    let got = cache.get_many::<i32>(keys).await.unwrap();
    assert_eq!(got, [Some(1), Some(2), Some(3)]);
    cache.invalidate(["small"]).await.unwrap();
    assert_eq!(cache.get_many::<i32>(keys).await.unwrap(), [None; 3]);
    let none: [(&str, &i32); 0] = [];
    cache.set_many(none, options()).await.unwrap();
}

async fn set_many_stores_the_last_value_of_a_key(Recorded { cache, events }: Recorded) {
    for _ in 0..2 {
        let entries = [("a", &1), ("b", &2), ("a", &3)];
        cache.set_many(entries, Options::new()).await.unwrap();
        assert_eq!(events.take(), ["fill a ttl=300s", "fill b ttl=300s"]);
        assert_eq!(cache.get::<i32>("a").await.unwrap(), Some(3));
        events.take();
    }
}

async fn set_many_stores_values_of_any_size(Recorded { cache, .. }: Recorded) {
    let values: Vec<String> = [10, 700_000, 700_000, 2_000_000, 10]
        .map(|length| "x".repeat(length))
        .into();
    let entries = values.iter().enumerate();
    let entries = entries.map(|(at, value)| (key!("text:<at>"), value));
    cache.set_many(entries, Options::new()).await.unwrap();
    let keys = (0..values.len()).map(|at| key!("text:<at>"));
    let got = cache.get_many::<String>(keys).await.unwrap();
    assert!(got.into_iter().eq(values.into_iter().map(Some)));
}

#[cache_invalidate("row:<name>", fence = "60s", cache = cache)]
async fn write(cache: &Cache, may_end: &Gate, name: &str) -> Result<(), String> {
    may_end.pass().await;
    Ok(())
}

async fn set_many_stores_nothing_behind_a_fence(Recorded { cache, events }: Recorded) {
    let may_end = Gate::new();
    let name = "a";
    let mut update = pin!(write(&cache, &may_end, name));
    tokio::select! {
        _ = &mut update => panic!("it waits"),
        () = events.until("fence row:'a'") => {}
    }
    events.take();
    let set = |options| cache.set_many([("row:'a'", &1), ("row:'b'", &2)], options);
    set(Options::new()).await.unwrap();
    let expected = ["not filled row:'a': unstorable", "fill row:'b' ttl=300s"];
    assert_eq!(events.take(), expected);
    // Behind a fence around a tag, nothing is stored, and what was there goes.
    set(Options::new().tag("row:'a'")).await.unwrap();
    let got = cache.get_many::<i32>(["row:'a'", "row:'b'"]).await.unwrap();
    assert_eq!(got, [None, None]);
    may_end.open();
    update.await.unwrap();
}

async fn a_load_under_way_does_not_store_over_set_many_and_delete_many(
    Recorded { cache, .. }: Recorded,
) {
    let row = Row::new(&cache);
    let reader = row.reader();
    row.load_started().await;
    cache
        .set_many([("row", &7_u64), ("other", &8)], Options::new())
        .await
        .unwrap();
    row.end_load();
    assert_eq!(answer(reader).await, 1);
    assert_eq!(cache.get::<u64>("row").await.unwrap(), Some(7));

    cache.delete_many(["row", "other"]).await.unwrap();
    let reader = row.reader();
    row.load_started().await;
    cache.delete_many(["row", "other"]).await.unwrap();
    row.end_load();
    assert_eq!(answer(reader).await, 1);
    assert_eq!(cache.get::<u64>("row").await.unwrap(), None);
}

async fn delete_many_says_which_entries_there_were(Recorded { cache, events }: Recorded) {
    cache.set("a", &1, Options::new()).await.unwrap();
    cache.set("c", &1, Options::new()).await.unwrap();
    events.take();
    let deleted = cache.delete_many(["a", "b", "c", "a"]).await.unwrap();
    assert_eq!(deleted, [true, false, true, false]);
    let expected = [
        "delete a",
        "delete b: absent",
        "delete c",
        "delete a: absent",
    ];
    assert_eq!(events.take(), expected);
    let none: [&str; 0] = [];
    assert!(cache.delete_many(none).await.unwrap().is_empty());
}

async fn within_after_commit_many_keys_are_invalidated_when_the_scope_ends(
    Recorded { cache, events }: Recorded,
) {
    cache.set("a", &1, Options::new()).await.unwrap();
    let output = after_commit(async {
        events.take();
        assert_eq!(cache.get_many::<i32>(["a"]).await.unwrap(), [None]);
        cache
            .set_many([("a", &2), ("b", &2)], Options::new())
            .await
            .unwrap();
        cache.delete_many(["c"]).await.unwrap();
        let expected = [
            "miss a",
            "not filled a: uncommitted",
            "not filled b: uncommitted",
            "delete c: absent",
        ];
        assert_eq!(events.take(), expected);
        Ok::<_, ()>(())
    });
    output.await.unwrap();
    assert_eq!(events.take(), ["invalidate a b c"]);
    assert_eq!(cache.get_many::<i32>(["a", "b"]).await.unwrap(), [None; 2]);
}

async fn one_invalid_name_fails_for_all(Recorded { cache, .. }: Recorded) {
    cache.set("a", &1, Options::new()).await.unwrap();
    assert!(cache.get_many::<i32>(["a", ""]).await.unwrap_err().is_key());
    assert!(cache.delete_many(["a", ""]).await.unwrap_err().is_key());
    let set = cache.set_many([("a", &2), ("", &2)], Options::new());
    assert!(set.await.unwrap_err().is_key());
    assert_eq!(cache.get::<i32>("a").await.unwrap(), Some(1));
}
