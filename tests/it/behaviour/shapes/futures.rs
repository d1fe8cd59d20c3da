//! Functions that are not `async` and return a future.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use cache_runtime::{Cache, cache_invalidate, cached};
use cache_tests::until;

use super::{counts, miss_hit_invalidate, on_every_backend};

on_every_backend! {
    an_impl_future_is_cached
    a_boxed_future_is_cached
    a_boxed_future_under_an_alias_is_cached
    a_future_that_is_not_send_is_cached
    a_future_may_outlive_its_receiver
    an_early_return_returns_from_the_body
    a_future_may_borrow_through_a_mutable_receiver
    the_body_runs_up_to_its_future_on_a_hit_too
    the_cache_is_asked_when_the_future_is_polled
    options_see_the_value_of_a_returned_future
    an_update_that_is_never_polled_invalidates
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
type LocalBoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

fn spawnable<F: Future + Send + 'static>(future: F) -> F {
    future
}

struct Users {
    cache: Cache,
    tenant: u64,
    /// How often a body has made its future.
    futures: AtomicU64,
}

impl Users {
    fn new(cache: Cache) -> Self {
        Self {
            cache,
            tenant: 7,
            futures: AtomicU64::new(0),
        }
    }

    #[cached(key = "impl:<self.tenant>:<name>", cache = self.cache)]
    fn length(&self, name: &str) -> impl Future<Output = Result<usize, String>> + Send {
        let length = name.len();
        async move {
            tokio::task::yield_now().await;
            Ok(length)
        }
    }

    #[cache_invalidate("impl:<self.tenant>:<name>", cache = self.cache)]
    fn change_length(&self, name: &str) -> impl Future<Output = ()> + Send + use<> {
        let _ = name;
        async {}
    }

    #[cached(key = "boxed:<self.tenant>:<id>", cache = self.cache)]
    fn find<'a>(&'a self, id: &'a str) -> Pin<Box<dyn Future<Output = String> + Send + 'a>> {
        Box::pin(async move { format!("{id} of {}", self.tenant) })
    }

    #[cache_invalidate("boxed:<self.tenant>:<result>", cache = self.cache)]
    fn rename<'a>(&'a self, id: &'a str) -> Pin<Box<dyn Future<Output = &'a str> + Send + 'a>> {
        Box::pin(async move { id })
    }

    #[cached(key = "alias:<self.tenant>:<id>", cache = self.cache)]
    fn by_alias(&self, id: u64) -> BoxFuture<'_, Option<u64>> {
        Box::pin(async move { id.checked_mul(self.tenant) })
    }

    #[cache_invalidate("alias:<self.tenant>:<id>", on = ok, cache = self.cache)]
    fn change_by_alias(&self, id: u64) -> BoxFuture<'_, Result<u64, String>> {
        Box::pin(async move { Ok(id + self.tenant) })
    }

    #[cached(key = "local:<self.tenant>:<id>", cache = self.cache)]
    fn local(&self, id: Rc<u64>) -> LocalBoxFuture<'_, u64> {
        Box::pin(async move { *id * self.tenant })
    }

    #[cache_invalidate("local:<self.tenant>:<id>", cache = self.cache)]
    fn change_local(&self, id: Rc<u64>) -> LocalBoxFuture<'_, Rc<u64>> {
        Box::pin(async move { id })
    }

    #[cached(key = "static:<self.tenant>:<id>", cache = self.cache)]
    fn owned(&self, id: String) -> BoxFuture<'static, String> {
        let tenant = self.tenant;
        Box::pin(async move { format!("{id} of {tenant}") })
    }

    #[cache_invalidate("static:<self.tenant>:<id>", cache = self.cache)]
    fn change_owned(&self, id: String) -> impl Future<Output = String> + Send + use<> {
        async { id }
    }

    #[cached(key = "early:<self.tenant>:<id>", cache = self.cache)]
    fn early(&self, id: u64) -> BoxFuture<'_, Result<u64, Box<dyn std::error::Error + Send>>> {
        if id == 0 {
            return Box::pin(std::future::ready(Ok(self.tenant)));
        }
        Box::pin(async move { Ok("12".parse().unwrap_or(id)) })
    }

    #[cached(key = "reborrowed:<self.tenant>", cache = self.cache)]
    fn reborrowed(&mut self) -> impl Future<Output = u64> + Send + '_ {
        Self::next(&mut self.tenant)
    }

    #[cached(key = "reborrowed-box:<self.tenant>", cache = self.cache)]
    fn reborrowed_box(&mut self) -> BoxFuture<'_, u64> {
        Box::pin(Self::next(&mut self.tenant))
    }

    async fn next(count: &mut u64) -> u64 {
        tokio::task::yield_now().await;
        *count += 1;
        *count
    }

    #[cached(key = "counted", cache = self.cache)]
    fn counted(&self) -> impl Future<Output = u64> + '_ {
        let made = self.futures.fetch_add(1, Ordering::SeqCst);
        async move { made }
    }

    #[cached(
        key = "kept:<id>",
        unless = |value| *value > limit,
        ttl = |value| std::time::Duration::from_secs(60 * *value),
        condition = id > 0,
        cache = self.cache,
        skip(limit)
    )]
    fn kept(&self, id: u64, limit: u64) -> BoxFuture<'_, u64> {
        Box::pin(async move { id })
    }
}

async fn an_impl_future_is_cached(cache: Cache) {
    let users = Users::new(cache.clone());
    miss_hit_invalidate!(
        cache,
        users.length("Ada"),
        Ok(3),
        users.change_length("Ada")
    );
}

async fn a_boxed_future_is_cached(cache: Cache) {
    let users = Users::new(cache.clone());
    miss_hit_invalidate!(cache, users.find("Ada"), "Ada of 7", users.rename("Ada"));
}

async fn a_boxed_future_under_an_alias_is_cached(cache: Cache) {
    let users = Users::new(cache.clone());
    miss_hit_invalidate!(cache, users.by_alias(6), Some(42), users.change_by_alias(6));
}

async fn a_future_that_is_not_send_is_cached(cache: Cache) {
    let users = Users::new(cache.clone());
    let id = Rc::new(6);
    miss_hit_invalidate!(
        cache,
        users.local(id.clone()),
        42,
        users.change_local(id.clone())
    );
}

async fn a_future_may_outlive_its_receiver(cache: Cache) {
    let call = || spawnable(Users::new(cache.clone()).owned("Ada".to_owned()));
    let change = || spawnable(Users::new(cache.clone()).change_owned("Ada".to_owned()));
    miss_hit_invalidate!(cache, call(), "Ada of 7", change());
    let spawned = tokio::spawn(call());
    assert_eq!(spawned.await.unwrap(), "Ada of 7");
}

async fn an_early_return_returns_from_the_body(cache: Cache) {
    let users = Users::new(cache.clone());
    for (id, value) in [(0, 7), (1, 12)] {
        let key = format!("early:7:{id}");
        miss_hit_invalidate!(
            cache,
            async { users.early(id).await.unwrap() },
            value,
            async { cache.invalidate([key.as_str()]).await.unwrap() },
        );
    }
}

async fn a_future_may_borrow_through_a_mutable_receiver(cache: Cache) {
    let mut users = Users::new(cache.clone());
    assert_eq!(users.reborrowed().await, 8);
    assert_eq!(users.reborrowed_box().await, 9);
    users.tenant = 7;
    assert_eq!(users.reborrowed().await, 8);
    assert_eq!(counts(&cache), [1, 2, 2]);
    assert_eq!(
        users.tenant, 7,
        "on a hit the future of the body is not polled"
    );
}

async fn the_body_runs_up_to_its_future_on_a_hit_too(cache: Cache) {
    let users = Users::new(cache);
    for _ in 0..2 {
        assert_eq!(users.counted().await, 0);
    }
    assert_eq!(users.futures.load(Ordering::SeqCst), 2);
}

async fn the_cache_is_asked_when_the_future_is_polled(cache: Cache) {
    let users = Users::new(cache.clone());
    assert_eq!(users.counted().await, 0);
    let made_before = users.counted();
    cache.invalidate(["counted"]).await.unwrap();
    assert_eq!(made_before.await, 1, "what was invalidated is not served");
    let made_before = users.counted();
    assert_eq!(users.counted().await, 1);
    assert_eq!(made_before.await, 1, "a hit");
    assert_eq!(counts(&cache), [2, 2, 2]);
}

async fn options_see_the_value_of_a_returned_future(cache: Cache) {
    let users = Users::new(cache.clone());
    for _ in 0..2 {
        assert_eq!(users.kept(0, 9).await, 0, "the condition is false");
        assert_eq!(users.kept(1, 9).await, 1);
        assert_eq!(users.kept(2, 1).await, 2, "over the limit");
    }
    assert_eq!(counts(&cache), [1, 3, 3]);
    let left = cache.ttl("kept:1").await.unwrap().unwrap();
    assert!(left <= std::time::Duration::from_secs(60), "{left:?}");
}

async fn an_update_that_is_never_polled_invalidates(cache: Cache) {
    let users = Users::new(cache.clone());
    assert_eq!(users.by_alias(6).await, Some(42));
    assert_eq!(users.owned("Ada".to_owned()).await, "Ada of 7");
    drop(users.change_by_alias(6));
    // The body may have begun the change before it made the future, so a future that is
    // dropped invalidates.
    drop(users.change_owned("Ada".to_owned()));
    until(async || !cache.exists("static:7:'Ada'").await.unwrap()).await;
    assert!(
        cache.exists("alias:7:6").await.unwrap(),
        "`on = ok` invalidates after success only"
    );
}

/// `tokio::spawn` and others move the future of a call, on a hit too: so it is small.
#[test]
fn the_future_of_a_call_is_small() {
    #[cached(key = "small:<id>")]
    async fn find(id: u64) -> Result<u64, String> {
        tokio::task::yield_now().await;
        Ok(id)
    }

    #[cache_invalidate("small:<id>")]
    async fn change(id: u64) -> Result<u64, String> {
        tokio::task::yield_now().await;
        Ok(id)
    }

    assert!(size_of_val(&find(1)) < 1024, "{}", size_of_val(&find(1)));
    assert!(
        size_of_val(&change(1)) < 1024,
        "{}",
        size_of_val(&change(1))
    );
}
