//! The forms that a batch function's argument and result have.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::pin::Pin;

use async_trait::async_trait;
use cache_runtime::{Cache, CacheTag, KeyPart, cached};
use serde::{Deserialize, Serialize};

use super::{counts, on_every_backend};

on_every_backend! {
    the_argument_is_any_collection
    the_result_is_any_collection
    values_tell_their_ids
    elements_have_patterns
    tags_are_typed_too
    functions_return_futures
    methods_are_in_traits
    lists_of_text_are_borrowed
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, KeyPart)]
struct Id(u64);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
}

fn user(id: u64) -> User {
    User {
        id,
        name: format!("user {id}"),
    }
}

async fn the_argument_is_any_collection(cache: Cache) {
    #[cached(key = "user:<id>", ttl = 60, each(id in ids), cache = cache, skip(cache))]
    async fn of_slice(cache: &Cache, ids: &[Id]) -> HashMap<Id, User> {
        ids.iter().map(|id| (*id, user(id.0))).collect()
    }
    #[cached(key = "user:<id>", ttl = 60, each(id in ids), cache = cache, skip(cache))]
    async fn of_vec(cache: &Cache, mut ids: Vec<Id>) -> HashMap<Id, User> {
        ids.sort_unstable();
        ids.into_iter().map(|id| (id, user(id.0))).collect()
    }
    #[cached(key = "user:<id>", ttl = 60, each(id in ids), cache = cache, skip(cache))]
    async fn of_set(cache: &Cache, ids: HashSet<Id>) -> HashMap<Id, User> {
        ids.into_iter().map(|id| (id, user(id.0))).collect()
    }
    #[cached(key = "user:<id>", ttl = 60, each(id in ids), cache = cache, skip(cache))]
    async fn of_borrowed_set(cache: &Cache, ids: &BTreeSet<Id>) -> HashMap<Id, User> {
        ids.iter().map(|id| (*id, user(id.0))).collect()
    }
    #[cached(key = "user:<id>", ttl = 60, each(id in ids), cache = cache, skip(cache))]
    async fn of_iterator(cache: &Cache, ids: impl IntoIterator<Item = Id>) -> HashMap<Id, User> {
        ids.into_iter().map(|id| (id, user(id.0))).collect()
    }
    #[cached(key = "user:<id>", ttl = 60, each(id in ids), cache = cache, skip(cache, I))]
    async fn of_generic<I: IntoIterator<Item = Id>>(cache: &Cache, ids: I) -> HashMap<Id, User> {
        ids.into_iter().map(|id| (id, user(id.0))).collect()
    }
    let ids = |first: u64| [Id(first), Id(first + 1)];
    let all = [
        of_slice(&cache, &ids(0)).await,
        of_vec(&cache, ids(1).to_vec()).await,
        of_set(&cache, ids(2).into()).await,
        of_borrowed_set(&cache, &ids(3).into()).await,
        of_iterator(&cache, ids(4)).await,
        of_generic(&cache, ids(5)).await,
    ];
    for (first, users) in (0..).zip(all) {
        assert_eq!(users, ids(first).map(|id| (id, user(id.0))).into());
    }
    assert_eq!(counts(&cache), [5, 7, 7]);
}

async fn the_result_is_any_collection(cache: Cache) {
    #[cached(key = "user:<id>", ttl = 60, each(id in ids), cache = cache, skip(cache))]
    async fn in_tree(cache: &Cache, ids: &[u64]) -> Result<BTreeMap<u64, User>, ()> {
        Ok(ids.iter().map(|id| (*id, user(*id))).collect())
    }
    #[cached(key = "user:<id>", ttl = 60, each(id in ids), cache = cache, skip(cache))]
    async fn in_pairs(cache: &Cache, ids: &[u64]) -> Vec<(u64, User)> {
        ids.iter().map(|id| (*id, user(*id))).collect()
    }
    #[cached(key = "user:<id>", ttl = 60, each(id in ids), cache = cache, skip(cache))]
    async fn in_queue(cache: &Cache, ids: &[u64]) -> VecDeque<(u64, User)> {
        ids.iter().rev().map(|id| (*id, user(*id))).collect()
    }
    assert_eq!(in_tree(&cache, &[2, 1]).await.unwrap().len(), 2);
    let pairs = in_pairs(&cache, &[3, 1, 4]).await;
    assert_eq!(pairs, [(3, user(3)), (1, user(1)), (4, user(4))]);
    let queue = in_queue(&cache, &[5, 2, 6]).await;
    assert_eq!(queue, [(5, user(5)), (2, user(2)), (6, user(6))]);
    assert_eq!(counts(&cache), [2, 6, 6]);
}

async fn values_tell_their_ids(cache: Cache) {
    #[cached(
        key = "user:<id>", ttl = 60, each(id in ids), by = |user| user.id, cache = cache, skip(cache)
    )]
    async fn users(cache: &Cache, ids: &[u64]) -> Result<Vec<User>, ()> {
        Ok(ids
            .iter()
            .filter(|id| **id != 2)
            .rev()
            .map(|id| user(*id))
            .collect())
    }
    for _ in 0..2 {
        let users = users(&cache, &[1, 2, 3]).await;
        assert_eq!(users, Ok(vec![user(1), user(3)]));
    }
    assert_eq!(counts(&cache), [2, 4, 4]);
}

async fn elements_have_patterns(cache: Cache) {
    #[cached(
        key = "member:<team>:<id>", ttl = 60, invalidate_on = "team:<team>", each((team, id) in members),
        cache = cache, skip(cache)
    )]
    async fn roles(cache: &Cache, members: &[(u64, u64)]) -> HashMap<(u64, u64), String> {
        members.iter().map(|it| (*it, format!("{it:?}"))).collect()
    }
    roles(&cache, &[(1, 7), (2, 7)]).await;
    cache.invalidate(["team:1"]).await.unwrap();
    roles(&cache, &[(1, 7), (2, 7)]).await;
    assert!(cache.exists("member:1:7").await.unwrap());
    assert_eq!(counts(&cache), [1, 3, 3]);
}

async fn tags_are_typed_too(cache: Cache) {
    #[derive(CacheTag)]
    #[cache_tag("tenant:<0>")]
    struct Tenant(u64);
    #[derive(CacheTag)]
    #[cache_tag("of:<0>")]
    struct Of(u64);

    #[cached(
        key = "user:<tenant>:<id>", ttl = 60, invalidate_on = [Tenant(tenant), Of(*id), "all"],
        each(id in ids), cache = cache, skip(cache)
    )]
    async fn users(cache: &Cache, tenant: u64, ids: &[u64]) -> HashMap<u64, u64> {
        ids.iter().map(|id| (*id, tenant)).collect()
    }
    for (tag, loads) in [("tenant:3", 2), ("of:1", 1), ("all", 2), ("tenant:4", 0)] {
        users(&cache, 3, &[1, 2]).await;
        let before = cache.stats().loads;
        cache.invalidate([tag]).await.unwrap();
        users(&cache, 3, &[1, 2]).await;
        assert_eq!(cache.stats().loads, before + loads, "{tag}");
    }
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

async fn functions_return_futures(cache: Cache) {
    #[cached(key = "user:<id>", ttl = 60, each(id in ids), cache = cache, skip(cache))]
    fn unboxed(cache: &Cache, ids: &[u64]) -> impl Future<Output = HashMap<u64, u64>> + Send {
        async move { ids.iter().map(|id| (*id, id * 2)).collect() }
    }
    #[cached(key = "user:<id>", ttl = 60, each(id in ids), cache = cache, skip(cache))]
    fn boxed<'a>(cache: &'a Cache, ids: &'a [u64]) -> BoxFuture<'a, HashMap<u64, u64>> {
        Box::pin(async move { ids.iter().map(|id| (*id, id * 2)).collect() })
    }
    let expected = HashMap::from([(1, 2), (2, 4)]);
    assert_eq!(unboxed(&cache, &[1, 2]).await, expected);
    assert_eq!(boxed(&cache, &[1, 2]).await, expected);
    assert_eq!(
        tokio::spawn({
            let cache = cache.clone();
            async move { boxed(&cache, &[2, 1]).await }
        })
        .await
        .unwrap(),
        expected
    );
    assert_eq!(counts(&cache), [4, 2, 2]);
}

async fn methods_are_in_traits(cache: Cache) {
    #[async_trait]
    trait Boxes {
        async fn boxed(&self, tenant: u64, ids: &[u64]) -> Result<HashMap<u64, u64>, String>;
    }
    trait Plain {
        async fn plain(&self, tenant: u64, ids: Vec<u64>) -> Result<HashMap<u64, u64>, String>;
    }
    struct Repository {
        cache: Cache,
    }
    #[async_trait]
    impl Boxes for Repository {
        #[cached(key = "user:<tenant>:<id>", ttl = 60, each(id in ids), cache = self.cache)]
        async fn boxed(&self, tenant: u64, ids: &[u64]) -> Result<HashMap<u64, u64>, String> {
            Ok(ids.iter().map(|id| (*id, tenant + id)).collect())
        }
    }
    impl Plain for Repository {
        #[cached(key = "user:<tenant>:<id>", ttl = 60, each(id in ids), cache = self.cache)]
        async fn plain(&self, tenant: u64, ids: Vec<u64>) -> Result<HashMap<u64, u64>, String> {
            Ok(ids.into_iter().map(|id| (id, tenant + id)).collect())
        }
    }
    let repository = Repository { cache };
    let expected = Ok(HashMap::from([(1, 8), (2, 9)]));
    assert_eq!(repository.boxed(7, &[1, 2]).await, expected);
    assert_eq!(repository.plain(7, vec![1, 2]).await, expected);
    assert_eq!(counts(&repository.cache), [2, 2, 2]);
}

async fn lists_of_text_are_borrowed(cache: Cache) {
    #[cached(key = "word:<word>", ttl = 60, each(word in words), cache = cache, skip(cache))]
    async fn lengths(cache: &Cache, words: &[&str]) -> HashMap<String, usize> {
        words
            .iter()
            .map(|word| ((*word).to_owned(), word.len()))
            .collect()
    }
    #[cached(key = "word:<word>", ttl = 60, each(word in words), cache = cache, skip(cache))]
    async fn of_iterator<'w>(
        cache: &Cache,
        words: impl IntoIterator<Item = &'w String>,
    ) -> HashMap<String, usize> {
        words
            .into_iter()
            .map(|word| (word.clone(), word.len()))
            .collect()
    }
    let expected = HashMap::from([("a".to_owned(), 1), ("bc".to_owned(), 2)]);
    assert_eq!(lengths(&cache, &["a", "bc"]).await, expected);
    let words = ["bc".to_owned(), "a".to_owned()];
    assert_eq!(of_iterator(&cache, &words).await, expected);
    assert_eq!(counts(&cache), [2, 2, 2]);
}
