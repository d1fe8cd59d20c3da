//! Tags that are types: `#[derive(CacheTag)]`.

use std::sync::atomic::{AtomicU64, Ordering};

use cache_runtime::{Cache, CacheTag, Key, KeyPart, cache_invalidate, cached};

use super::{Recorded, on_every_backend};

on_every_backend! {
    a_typed_tag_invalidates_the_entries_that_carry_it
    a_typed_tag_can_be_made_from_the_result
    a_typed_tag_is_the_name_that_its_template_gives
}

#[derive(CacheTag)]
#[cache_tag("tenant:<0>:users")]
struct TenantUsers<'a>(&'a str);

/// The template does not name `note`.
#[derive(CacheTag)]
#[cache_tag("<kind.name()>:<id>")]
struct Row<K: KeyPart> {
    kind: Kind,
    id: K,
    #[cache_tag(skip)]
    #[expect(dead_code, reason = "the template need not name each field")]
    note: f64,
}

#[derive(CacheTag)]
#[cache_tag("all")]
struct All;

struct Kind(&'static str);

impl Kind {
    fn name(&self) -> &'static str {
        self.0
    }
}

fn row<K: KeyPart>(id: K) -> Row<K> {
    Row {
        kind: Kind("user"),
        id,
        note: 0.5,
    }
}

struct User {
    id: u64,
    tenant: String,
}

struct Users {
    cache: Cache,
    updates: AtomicU64,
}

impl Users {
    fn new(cache: Cache) -> Self {
        let updates = AtomicU64::new(0);
        Self { cache, updates }
    }

    #[cached(
        key = "found:<tenant>:<id>",
        ttl = 60,
        invalidate_on = [TenantUsers(&tenant), row(id), "users", All],
        cache = self.cache,
    )]
    async fn find(&self, tenant: String, id: u64) -> u64 {
        drop(tenant);
        self.updates.load(Ordering::SeqCst)
    }

    #[cache_invalidate(TenantUsers(&tenant), cache = self.cache)]
    async fn close(&self, tenant: String) {
        drop(tenant);
        self.updates.fetch_add(1, Ordering::SeqCst);
    }

    #[cache_invalidate(row(result.id), TenantUsers(&result.tenant), cache = self.cache)]
    async fn rename(&self, id: u64, tenant: &str) -> Result<Option<User>, String> {
        self.updates.fetch_add(1, Ordering::SeqCst);
        let tenant = tenant.to_owned();
        Ok(Some(User { id, tenant }).filter(|user| user.id > 0))
    }

    async fn seen(&self) -> [u64; 3] {
        [
            self.find("acme".to_owned(), 1).await,
            self.find("acme".to_owned(), 2).await,
            self.find("bolt".to_owned(), 1).await,
        ]
    }
}

async fn a_typed_tag_invalidates_the_entries_that_carry_it(Recorded { cache, events }: Recorded) {
    let users = Users::new(cache);
    assert_eq!(users.seen().await, [0, 0, 0]);
    events.take();
    users.close("acme".to_owned()).await;
    assert_eq!(users.seen().await, [1, 1, 0]);
    let expected = [
        "invalidate tenant:'acme':users",
        "miss found:'acme':1",
        "load found:'acme':1",
        "fill found:'acme':1 ttl=60s",
        "miss found:'acme':2",
        "load found:'acme':2",
        "fill found:'acme':2 ttl=60s",
        "hit found:'bolt':1",
    ];
    assert_eq!(events.take(), expected);
    users.cache.invalidate([row(2)]).await.unwrap();
    users.updates.fetch_add(1, Ordering::SeqCst);
    assert_eq!(users.seen().await, [1, 2, 0]);
    users.cache.invalidate([All]).await.unwrap();
    assert_eq!(users.seen().await, [2, 2, 2]);
}

async fn a_typed_tag_can_be_made_from_the_result(Recorded { cache, events }: Recorded) {
    let users = Users::new(cache);
    assert_eq!(users.seen().await, [0, 0, 0]);
    events.take();
    assert!(users.rename(0, "acme").await.unwrap().is_none());
    assert!(events.take().is_empty());
    assert!(users.rename(2, "bolt").await.unwrap().is_some());
    assert_eq!(events.take(), ["invalidate 'user':2 tenant:'bolt':users"]);
    assert_eq!(users.seen().await, [0, 2, 2]);
}

async fn a_typed_tag_is_the_name_that_its_template_gives(cache: Cache) {
    assert_eq!(
        Key::from(TenantUsers("acme")).as_str(),
        "tenant:'acme':users"
    );
    assert_eq!(Key::from(row(7)).as_str(), "'user':7");
    assert_eq!(Key::from(&All).as_str(), "all");
    let users = Users::new(cache);
    assert_eq!(users.seen().await, [0, 0, 0]);
    users
        .cache
        .invalidate(["tenant:'acme':users"])
        .await
        .unwrap();
    users.updates.fetch_add(1, Ordering::SeqCst);
    assert_eq!(users.seen().await, [1, 1, 0]);
}
