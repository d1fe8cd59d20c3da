//! Texts by key: what a library for sessions or tokens asks of its storage.

use std::time::Duration;

use cache_runtime::{Cache, Strings};
use cache_tests::until;
use tokio::task::JoinSet;

use super::on_every_backend;

on_every_backend! {
    a_text_comes_back_as_it_was_set
    a_ttl_of_zero_removes
    a_text_ends_with_its_ttl
    a_text_is_set_where_there_is_none_or_is_one
    of_many_that_compare_and_set_one_prevails
    of_many_that_compare_and_delete_one_prevails
    a_text_is_deleted_only_if_it_is_the_given_one
    of_many_that_take_one_gets_the_text
    a_session_that_is_deleted_does_not_come_back
    counts_are_exact_and_never_without_a_ttl
    what_is_no_number_is_not_counted
    stores_are_apart
    clearing_and_invalidating_leave_texts_alone
}

const HOUR: Duration = Duration::from_secs(3600);

fn strings(cache: &Cache) -> Strings {
    cache.strings("auth").unwrap()
}

async fn a_text_comes_back_as_it_was_set(cache: Cache) {
    let strings = strings(&cache);
    for text in [
        "",
        "Ada",
        "{\"a\":1}",
        "ä \u{1F600} \0 \n\"",
        "7",
        "L\u{1}abc",
        "null",
    ] {
        for ttl in [None, Some(HOUR)] {
            strings.set("key", text, ttl).await.unwrap();
            assert_eq!(strings.get("key").await.unwrap().as_deref(), Some(text));
            let left = strings.ttl("key").await.unwrap();
            assert_eq!(left.is_some(), ttl.is_some());
            assert!(left.is_none_or(|left| left <= HOUR && left > HOUR / 2));
        }
    }
    assert_eq!(strings.get("ke").await.unwrap(), None);
    assert!(strings.delete("key").await.unwrap());
    assert!(!strings.delete("key").await.unwrap());
    assert_eq!(strings.get("key").await.unwrap(), None);
    assert_eq!(strings.ttl("key").await.unwrap(), None);
}

async fn a_ttl_of_zero_removes(cache: Cache) {
    let strings = strings(&cache);
    strings.set("key", "text", HOUR).await.unwrap();
    strings.set("key", "text", Duration::ZERO).await.unwrap();
    assert_eq!(strings.get("key").await.unwrap(), None);
    strings.set("key", "text", HOUR).await.unwrap();
    assert!(
        strings
            .set_if_present("key", "text", Duration::ZERO)
            .await
            .unwrap()
    );
    assert_eq!(strings.get("key").await.unwrap(), None);
    strings.set("key", "text", HOUR).await.unwrap();
    assert!(strings.expire("key", Duration::ZERO).await.unwrap());
    assert_eq!(strings.get("key").await.unwrap(), None);
    assert!(!strings.expire("key", HOUR).await.unwrap());
}

async fn a_text_ends_with_its_ttl(cache: Cache) {
    let strings = strings(&cache);
    strings
        .set("short", "text", Duration::from_millis(50))
        .await
        .unwrap();
    strings
        .set("longer", "text", Duration::from_millis(50))
        .await
        .unwrap();
    assert!(strings.expire("longer", HOUR).await.unwrap());
    until(async || strings.get("short").await.unwrap().is_none()).await;
    assert!(strings.set_if_absent("short", "text", HOUR).await.unwrap());
    assert_eq!(
        strings.get("longer").await.unwrap().as_deref(),
        Some("text")
    );
}

async fn a_text_is_set_where_there_is_none_or_is_one(cache: Cache) {
    let strings = strings(&cache);
    let get = async || strings.get("key").await.unwrap();
    assert!(!strings.set_if_present("key", "a", HOUR).await.unwrap());
    assert_eq!(get().await, None);
    assert!(strings.set_if_absent("key", "b", HOUR).await.unwrap());
    assert!(!strings.set_if_absent("key", "c", HOUR).await.unwrap());
    assert_eq!(get().await.as_deref(), Some("b"));
    assert!(strings.set_if_present("key", "d", None).await.unwrap());
    assert!(
        !strings
            .compare_and_set("key", "b", "e", HOUR)
            .await
            .unwrap()
    );
    assert!(
        strings
            .compare_and_set("key", "d", "f", HOUR)
            .await
            .unwrap()
    );
    assert_eq!(get().await.as_deref(), Some("f"));
    assert!(
        !strings
            .compare_and_set("other", "", "e", HOUR)
            .await
            .unwrap()
    );
}

async fn of_many_that_compare_and_set_one_prevails(cache: Cache) {
    let strings = strings(&cache);
    strings.set("key", "0", HOUR).await.unwrap();
    for round in 0..5_u8 {
        let mut writers = JoinSet::new();
        for _ in 0..10 {
            let strings = strings.clone();
            writers.spawn(async move {
                let (from, to) = (round.to_string(), (round + 1).to_string());
                strings
                    .compare_and_set("key", &from, &to, HOUR)
                    .await
                    .unwrap()
            });
        }
        let won = writers.join_all().await.into_iter().filter(|won| *won);
        assert_eq!(won.count(), 1);
    }
}

async fn of_many_that_compare_and_delete_one_prevails(cache: Cache) {
    let strings = strings(&cache);
    for round in 0..5_u8 {
        let text = round.to_string();
        strings.set("key", &text, HOUR).await.unwrap();
        let mut callers = JoinSet::new();
        for _ in 0..10 {
            let (strings, text) = (strings.clone(), text.clone());
            callers.spawn(async move { strings.compare_and_delete("key", &text).await.unwrap() });
        }
        let won = callers.join_all().await.into_iter().filter(|won| *won);
        assert_eq!(won.count(), 1);
        assert_eq!(strings.get("key").await.unwrap(), None);
    }
}

async fn a_text_is_deleted_only_if_it_is_the_given_one(cache: Cache) {
    let strings = strings(&cache);
    let delete = async |expected| strings.compare_and_delete("key", expected).await.unwrap();
    assert!(!delete("").await);
    for (text, others) in [
        ("a", ["", "A", "a ", "a\0"]),
        ("", ["a", " ", "\0", "nil"]),
        ("7", ["07", "7.0", "+7", ""]),
    ] {
        strings.set("key", text, HOUR).await.unwrap();
        for other in others {
            assert!(!delete(other).await, "{other:?} for {text:?}");
        }
        assert_eq!(strings.get("key").await.unwrap().as_deref(), Some(text));
        assert!(strings.ttl("key").await.unwrap().is_some());
        assert!(delete(text).await);
        assert!(!delete(text).await);
        assert_eq!(strings.get("key").await.unwrap(), None);
    }
}

async fn of_many_that_take_one_gets_the_text(cache: Cache) {
    let strings = strings(&cache);
    strings.set("key", "text", HOUR).await.unwrap();
    let mut takers = JoinSet::new();
    for _ in 0..10 {
        let strings = strings.clone();
        takers.spawn(async move { strings.take("key").await.unwrap() });
    }
    let taken: Vec<String> = takers.join_all().await.into_iter().flatten().collect();
    assert_eq!(taken, ["text"]);
}

/// A request that began before the user logged out saves the session.
async fn a_session_that_is_deleted_does_not_come_back(cache: Cache) {
    let strings = strings(&cache);
    for round in 0..20 {
        let key = format!("session:{round}");
        assert!(strings.set_if_absent(&key, "begun", HOUR).await.unwrap());
        let save = async { strings.set_if_present(&key, "later", HOUR).await.unwrap() };
        let delete = async { strings.delete(&key).await.unwrap() };
        let (_, deleted) = tokio::join!(save, delete);
        assert!(deleted);
        assert_eq!(strings.get(&key).await.unwrap(), None);
    }
}

async fn counts_are_exact_and_never_without_a_ttl(cache: Cache) {
    let strings = strings(&cache);
    let mut counters = JoinSet::new();
    for _ in 0..20 {
        let strings = strings.clone();
        counters.spawn(async move {
            let count = strings.increment("count", 3, HOUR).await.unwrap();
            assert!(strings.ttl("count").await.unwrap().is_some());
            count
        });
    }
    let mut counts = counters.join_all().await;
    counts.sort_unstable();
    let expected: Vec<i64> = (1..=20).map(|nth| nth * 3).collect();
    assert_eq!(counts, expected);
    // The ttl that is there stays.
    strings.increment("count", -60, HOUR * 5).await.unwrap();
    assert!(strings.ttl("count").await.unwrap().unwrap() <= HOUR);
    assert_eq!(strings.get("count").await.unwrap().as_deref(), Some("0"));
    // One that was set without an end has one from then on.
    strings
        .set("other", "9007199254740993", None)
        .await
        .unwrap();
    assert_eq!(
        strings.increment("other", 1, HOUR).await.unwrap(),
        9_007_199_254_740_994
    );
    assert!(strings.ttl("other").await.unwrap().is_some());
    // One whose end is now has counted.
    let gone = strings.increment("gone", 1, Duration::ZERO).await;
    assert_eq!(gone.unwrap(), 1);
    assert_eq!(strings.get("gone").await.unwrap(), None);
}

async fn what_is_no_number_is_not_counted(cache: Cache) {
    let strings = strings(&cache);
    let largest = i64::MAX.to_string();
    for text in ["Ada", "+5", "007", &largest] {
        strings.set("key", text, HOUR).await.unwrap();
        let error = strings.increment("key", 1, HOUR).await.unwrap_err();
        assert!(
            error.is_codec() && error.to_string().contains("key"),
            "{error}"
        );
        assert_eq!(strings.get("key").await.unwrap().as_deref(), Some(text));
    }
    // Nothing is wrong with the server.
    assert!(cache.health().status.is_working());
    assert_eq!(strings.increment("new", 1, HOUR).await.unwrap(), 1);
}

async fn stores_are_apart(cache: Cache) {
    let [one, other] = ["a", "a:b"].map(|store| cache.strings(store).unwrap());
    one.set("b:c", "one", HOUR).await.unwrap();
    other.set("c", "other", HOUR).await.unwrap();
    assert_eq!(one.get("b:c").await.unwrap().as_deref(), Some("one"));
    assert_eq!(other.get("c").await.unwrap().as_deref(), Some("other"));
}

async fn clearing_and_invalidating_leave_texts_alone(cache: Cache) {
    let strings = strings(&cache);
    strings.set("user:7", "text", HOUR).await.unwrap();
    cache.invalidate(["user:7", "auth:user:7"]).await.unwrap();
    cache.invalidate_matching("*").await.unwrap();
    cache.clear().await.unwrap();
    assert_eq!(
        strings.get("user:7").await.unwrap().as_deref(),
        Some("text")
    );
}
