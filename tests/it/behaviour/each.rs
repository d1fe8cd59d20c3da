//! `each` on an invalidation: names for each element of a list.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use cache_runtime::{Cache, CacheTag, KeyPart, Options, after_commit, cache_invalidate, key};

use super::on_every_backend;

on_every_backend! {
    each_element_of_an_argument_is_invalidated
    each_element_of_the_result_is_invalidated
    each_pair_of_elements_of_two_lists_is_invalidated
    a_list_in_an_element_has_elements_too
    elements_have_patterns_and_lists_are_expressions
    elements_of_arguments_are_invalidated_whatever_becomes_of_the_call
    elements_are_behind_the_fence_and_held_until_the_commit
    an_empty_list_invalidates_the_other_names_only
}

#[derive(CacheTag)]
#[cache_tag("team:<0>")]
struct Team(u64);

#[derive(KeyPart, Clone, Copy)]
struct Id(u64);

struct User {
    id: Id,
    team: u64,
}

struct Page {
    users: Vec<User>,
    labels: BTreeSet<String>,
}

/// An entry for each of these keys, and one with the key `team-7` and the tag `team:7`.
async fn store(cache: &Cache, keys: &[&str]) {
    for key in keys {
        cache.set(*key, &1, Options::new()).await.unwrap();
    }
    let tagged = Options::new().tag(Team(7));
    cache.set("team-7", &1, tagged).await.unwrap();
}

/// Those of the keys that are not stored any more.
async fn gone<'k>(cache: &Cache, keys: &[&'k str]) -> Vec<&'k str> {
    let mut gone = Vec::new();
    for key in keys {
        if !cache.exists(*key).await.unwrap() {
            gone.push(*key);
        }
    }
    gone
}

const USERS: &[&str] = &["user:1", "user:2", "user:3", "team-7"];

#[cache_invalidate("user:<id>", Team(*team), "teams", each(id in ids, team in teams), cache = cache)]
async fn change(cache: &Cache, ids: &[Id], teams: HashSet<u64>) {
    // The body takes its arguments.
    drop(teams);
}

async fn each_element_of_an_argument_is_invalidated(cache: Cache) {
    store(&cache, USERS).await;
    change(&cache, &[Id(1), Id(3), Id(1)], HashSet::new()).await;
    assert_eq!(gone(&cache, USERS).await, ["user:1", "user:3"]);
    change(&cache, &[], HashSet::from([7, 8])).await;
    assert_eq!(gone(&cache, USERS).await, ["user:1", "user:3", "team-7"]);
}

#[cache_invalidate("user:<user.id>", Team(user.team), each(user in result), cache = cache)]
async fn delete(cache: &Cache, ids: Vec<u64>) -> Result<Option<Vec<User>>, String> {
    let user = |id| User {
        id: Id(id),
        team: 7,
    };
    match ids.as_slice() {
        [] => Ok(None),
        [0] => Err("no such user".to_owned()),
        ids => Ok(Some(ids.iter().copied().map(user).collect())),
    }
}

async fn each_element_of_the_result_is_invalidated(cache: Cache) {
    store(&cache, USERS).await;
    assert!(delete(&cache, vec![]).await.unwrap().is_none());
    assert!(delete(&cache, vec![0]).await.is_err());
    assert!(gone(&cache, USERS).await.is_empty());
    delete(&cache, vec![2, 3]).await.unwrap();
    assert_eq!(gone(&cache, USERS).await, ["user:2", "user:3", "team-7"]);
}

#[cache_invalidate("label:<id>:<label>", each(id in ids, label in labels), cache = cache)]
async fn label(cache: &Cache, ids: [u64; 2], labels: Vec<&str>) {}

async fn each_pair_of_elements_of_two_lists_is_invalidated(cache: Cache) {
    let keys = ["label:1:'a'", "label:1:'b'", "label:2:'b'", "label:3:'a'"];
    store(&cache, &keys).await;
    label(&cache, [1, 2], vec!["a", "b"]).await;
    assert_eq!(gone(&cache, &keys).await, &keys[..3]);
}

#[cache_invalidate(
    "user:<user.id>",
    "label:<tenant>:<label>",
    "labels:<user.id>:<label>",
    each(page in result, user in page.users, label in page.labels.iter()),
    cache = cache,
)]
async fn pages(cache: &Cache, tenant: String) -> Vec<Page> {
    drop(tenant);
    let labels = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect();
    let user = |id| User {
        id: Id(id),
        team: 7,
    };
    vec![
        Page {
            users: vec![user(1)],
            labels: labels(&["a"]),
        },
        Page {
            users: vec![user(2)],
            labels: labels(&["b"]),
        },
    ]
}

async fn a_list_in_an_element_has_elements_too(cache: Cache) {
    let keys = [
        "user:1",
        "user:2",
        "label:'t':'a'",
        "label:'t':'b'",
        "labels:1:'a'",
        "labels:2:'b'",
        "labels:1:'b'",
    ];
    store(&cache, &keys).await;
    pages(&cache, "t".to_owned()).await;
    assert_eq!(gone(&cache, &keys).await, &keys[..6]);
}

struct Changes {
    by_id: BTreeMap<u64, u64>,
}

impl Changes {
    #[cache_invalidate(
        "user:<id>",
        "team:<team>",
        each((id, team) in self.by_id, self_ in [self.by_id.len()]),
        "count:<self_>",
        cache = cache,
    )]
    async fn apply(&self, cache: &Cache) {}
}

async fn elements_have_patterns_and_lists_are_expressions(cache: Cache) {
    let keys = ["user:1", "user:7", "team-7", "count:1", "count:2"];
    store(&cache, &keys).await;
    let changes = Changes {
        by_id: BTreeMap::from([(1, 7)]),
    };
    changes.apply(&cache).await;
    assert_eq!(gone(&cache, &keys).await, ["user:1", "team-7", "count:1"]);
}

#[cache_invalidate("user:<id>", each(id in ids), cache = cache)]
async fn fail(cache: &Cache, ids: &[u64], how: &str) -> Result<(), String> {
    match how {
        "hang" => std::future::pending().await,
        "panic" => panic!("as planned"),
        error => Err(error.to_owned()),
    }
}

async fn elements_of_arguments_are_invalidated_whatever_becomes_of_the_call(cache: Cache) {
    for how in ["fail", "hang", "panic"] {
        store(&cache, USERS).await;
        let call = tokio::spawn({
            let cache = cache.clone();
            async move {
                let call = fail(&cache, &[1, 2], how);
                let _ = tokio::time::timeout(Duration::from_millis(20), call).await;
            }
        });
        let _ = call.await;
        cache.flush(Duration::from_secs(5)).await.unwrap();
        while gone(&cache, USERS).await != ["user:1", "user:2"] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[cache_invalidate("user:<id>", each(id in ids), fence = "30s", cache = cache)]
async fn fenced(cache: &Cache, ids: &[u64]) -> Vec<&'static str> {
    for id in ids {
        cache
            .set(key!("user:<id>"), &2, Options::new())
            .await
            .unwrap();
    }
    gone(cache, USERS).await
}

async fn elements_are_behind_the_fence_and_held_until_the_commit(cache: Cache) {
    store(&cache, USERS).await;
    assert_eq!(fenced(&cache, &[1, 3]).await, ["user:1", "user:3"]);
    store(&cache, USERS).await;
    let held = after_commit(async {
        change(&cache, &[Id(2)], HashSet::new()).await;
        Ok::<_, String>(())
    });
    held.await.unwrap();
    assert_eq!(gone(&cache, USERS).await, ["user:2"]);
}

async fn an_empty_list_invalidates_the_other_names_only(cache: Cache) {
    let keys = ["user:1", "teams"];
    store(&cache, &keys).await;
    change(&cache, &[], HashSet::new()).await;
    assert_eq!(gone(&cache, &keys).await, ["teams"]);
}
