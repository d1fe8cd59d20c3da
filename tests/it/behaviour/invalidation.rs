//! Which entries an update invalidates, however it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cache_runtime::{Cache, KeyPart, KeyWriter, Options, Written, cache_invalidate, cached};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::{Recorded, on_every_backend};

on_every_backend! {
    an_update_invalidates_the_entry_of_its_key
    an_update_of_a_tag_invalidates_each_entry_that_carries_it
    a_key_can_be_the_tag_of_another_entry
    a_name_can_come_from_the_result
    a_result_that_is_none_leaves_the_names_of_the_arguments
    an_update_that_fails_invalidates
    an_update_that_panics_invalidates
    a_result_that_panics_as_a_name_leaves_the_names_of_the_arguments
    an_update_that_is_dropped_invalidates
}

/// Users of two tenants. A read of a user yields the number of updates so far.
#[derive(Debug)]
struct Users {
    cache: Cache,
    updates: AtomicU64,
    never: Notify,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct User {
    id: u64,
    tenant: String,
}

impl Users {
    fn new(cache: Cache) -> Arc<Self> {
        Arc::new(Self {
            cache,
            updates: AtomicU64::new(0),
            never: Notify::new(),
        })
    }

    #[cached(
        key = "user:<tenant>:<id>",
        ttl = 60,
        invalidate_on = ["tenant:<tenant>", "users"],
        cache = self.cache,
    )]
    async fn find(&self, tenant: &str, id: u64) -> u64 {
        self.updates.load(Ordering::SeqCst)
    }

    /// An entry whose tag is the key of a user.
    #[cached(
        key = "posts:<tenant>:<id>",
        ttl = 60,
        invalidate_on = "user:<tenant>:<id>",
        cache = self.cache,
    )]
    async fn posts(&self, tenant: &str, id: u64) -> u64 {
        self.updates.load(Ordering::SeqCst)
    }

    fn update(&self) {
        self.updates.fetch_add(1, Ordering::SeqCst);
    }

    #[cache_invalidate("user:<tenant>:<id>", cache = self.cache)]
    async fn rename(&self, tenant: &str, id: u64) {
        self.update();
    }

    #[cache_invalidate("tenant:<tenant>", cache = self.cache)]
    async fn close(&self, tenant: &str) {
        self.update();
    }

    #[cache_invalidate("users", cache = self.cache)]
    async fn import(&self) {
        self.update();
    }

    #[cache_invalidate("user:<result.tenant>:<id>", "tenant:<other>", cache = self.cache)]
    async fn promote(&self, id: u64, other: String) -> Result<Option<User>, String> {
        self.update();
        // The name must not need the argument any more.
        drop(other);
        let tenant = "acme".to_owned();
        Ok(Some(User { id, tenant }).filter(|user| user.id > 0))
    }

    #[cache_invalidate("users", cache = self.cache)]
    async fn fail(&self) -> Result<(), String> {
        self.update();
        Err("the connection broke after the commit".to_owned())
    }

    #[cache_invalidate("users", cache = self.cache)]
    async fn panic(&self) {
        self.update();
        panic!("as planned");
    }

    #[cache_invalidate("users", cache = self.cache)]
    async fn hang(&self, updated: Arc<Notify>) {
        self.update();
        updated.notify_one();
        self.never.notified().await;
    }

    /// Three users, each as the number of updates before its load.
    async fn seen(&self) -> [u64; 3] {
        [
            self.find("acme", 1).await,
            self.find("acme", 2).await,
            self.find("bolt", 1).await,
        ]
    }
}

async fn an_update_invalidates_the_entry_of_its_key(Recorded { cache, events }: Recorded) {
    let users = Users::new(cache);
    assert_eq!(users.seen().await, [0, 0, 0]);
    events.take();
    users.rename("acme", 1).await;
    assert_eq!(users.seen().await, [1, 0, 0]);
    let expected = [
        "invalidate user:'acme':1",
        "miss user:'acme':1",
        "load user:'acme':1",
        "fill user:'acme':1 ttl=60s",
        "hit user:'acme':2",
        "hit user:'bolt':1",
    ];
    assert_eq!(events.take(), expected);
    users.rename("bolt", 1).await;
    assert_eq!(users.seen().await, [1, 0, 2]);
}

async fn an_update_of_a_tag_invalidates_each_entry_that_carries_it(
    Recorded { cache, events }: Recorded,
) {
    let users = Users::new(cache);
    assert_eq!(users.seen().await, [0, 0, 0]);
    events.take();
    users.close("acme").await;
    assert_eq!(users.seen().await, [1, 1, 0]);
    let expected = [
        "invalidate tenant:'acme'",
        "miss user:'acme':1",
        "load user:'acme':1",
        "fill user:'acme':1 ttl=60s",
        "miss user:'acme':2",
        "load user:'acme':2",
        "fill user:'acme':2 ttl=60s",
        "hit user:'bolt':1",
    ];
    assert_eq!(events.take(), expected);
    users.import().await;
    assert_eq!(users.seen().await, [2, 2, 2]);
    users.close("unused").await;
    assert_eq!(users.seen().await, [2, 2, 2]);
}

async fn a_key_can_be_the_tag_of_another_entry(Recorded { cache, events }: Recorded) {
    let users = Users::new(cache);
    assert_eq!(users.posts("acme", 1).await, 0);
    events.take();
    users.rename("acme", 2).await;
    assert_eq!(users.posts("acme", 1).await, 0);
    users.rename("acme", 1).await;
    assert_eq!(users.posts("acme", 1).await, 2);
    let expected = [
        "invalidate user:'acme':2",
        "hit posts:'acme':1",
        "invalidate user:'acme':1",
        "miss posts:'acme':1",
        "load posts:'acme':1",
        "fill posts:'acme':1 ttl=60s",
    ];
    assert_eq!(events.take(), expected);
}

async fn a_name_can_come_from_the_result(Recorded { cache, events }: Recorded) {
    let users = Users::new(cache);
    assert_eq!(users.seen().await, [0, 0, 0]);
    events.take();
    users.promote(2, "bolt".to_owned()).await.unwrap();
    assert_eq!(events.take(), ["invalidate tenant:'bolt' user:'acme':2"]);
    assert_eq!(users.seen().await, [0, 1, 1]);
}

async fn a_result_that_is_none_leaves_the_names_of_the_arguments(
    Recorded { cache, events }: Recorded,
) {
    let users = Users::new(cache);
    assert_eq!(users.seen().await, [0, 0, 0]);
    events.take();
    assert!(users.promote(0, "acme".to_owned()).await.unwrap().is_none());
    assert_eq!(events.take(), ["invalidate tenant:'acme'"]);
    assert_eq!(users.seen().await, [1, 1, 0]);
}

async fn an_update_that_fails_invalidates(Recorded { cache, events }: Recorded) {
    let users = Users::new(cache);
    assert_eq!(users.seen().await, [0, 0, 0]);
    events.take();
    assert!(users.fail().await.is_err());
    assert_eq!(events.take(), ["invalidate users"]);
    assert_eq!(users.seen().await, [1, 1, 1]);
}

async fn an_update_that_panics_invalidates(Recorded { cache, events }: Recorded) {
    let users = Users::new(cache);
    assert_eq!(users.seen().await, [0, 0, 0]);
    events.take();
    let panics = users.clone();
    let panicked = tokio::spawn(async move { panics.panic().await }).await;
    assert!(panicked.unwrap_err().is_panic());
    events.until("invalidate users").await;
    assert_eq!(events.take(), ["invalidate users"]);
    assert_eq!(users.seen().await, [1, 1, 1]);
}

async fn an_update_that_is_dropped_invalidates(Recorded { cache, events }: Recorded) {
    let users = Users::new(cache);
    assert_eq!(users.seen().await, [0, 0, 0]);
    events.take();
    let updated = Arc::new(Notify::new());
    let (hangs, tell) = (users.clone(), updated.clone());
    let hanging = tokio::spawn(async move { hangs.hang(tell).await });
    updated.notified().await;
    assert!(events.take().is_empty());
    hanging.abort();
    events.until("invalidate users").await;
    assert_eq!(events.take(), ["invalidate users"]);
    assert_eq!(users.seen().await, [1, 1, 1]);
}

/// A key part that panics.
struct Unnameable;

impl KeyPart for Unnameable {
    fn write(&self, _: KeyWriter<'_>) -> Written {
        panic!("no name")
    }
}

#[cache_invalidate("row", "other:<result>", cache = cache)]
async fn return_unnameable(cache: &Cache) -> Unnameable {
    Unnameable
}

async fn a_result_that_panics_as_a_name_leaves_the_names_of_the_arguments(
    Recorded { cache, events }: Recorded,
) {
    cache.set("row", &1, Options::new()).await.unwrap();
    let update = tokio::spawn({
        let cache = cache.clone();
        async move {
            return_unnameable(&cache).await;
        }
    });
    assert!(update.await.unwrap_err().is_panic());
    events.until("invalidate row").await;
    assert_eq!(events.take(), ["fill row ttl=300s", "invalidate row"]);
    assert!(!cache.exists("row").await.unwrap());
}
