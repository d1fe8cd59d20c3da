//! Functions that another attribute rewrites before `#[cached]` or `#[cache_invalidate]` sees them.

use std::rc::Rc;

use async_recursion::async_recursion;
use async_trait::async_trait;
use cache_runtime::{Cache, cache_invalidate, cached};

use super::{Users, counts, miss_hit_invalidate, on_every_backend};

on_every_backend! {
    a_method_under_async_trait_is_cached
    a_default_method_under_async_trait_is_cached
    a_method_whose_future_is_not_send_is_cached
    each_call_of_a_recursive_function_is_cached
}

#[async_trait]
trait Boxed: Send + Sync {
    fn cache(&self) -> &Cache;

    async fn find(&self, id: &str, note: String) -> Result<String, String>;
    async fn change(&mut self, id: &str, (times, _): (u64, u64)) -> u64;

    #[cached(key = "default:<id>", cache = self.cache())]
    async fn find_default(&self, id: u64) -> Option<u64> {
        Some(id)
    }

    #[cache_invalidate("default:<id>", cache = self.cache())]
    async fn change_default(&self, id: u64) {
        assert_ne!(id, 0);
    }
}

#[async_trait]
impl Boxed for Users {
    fn cache(&self) -> &Cache {
        &self.cache
    }

    #[cached(key = "find:<self.tenant>:<id>", ttl = 60, cache = self.cache, skip(note))]
    async fn find(&self, id: &str, note: String) -> Result<String, String> {
        if id.is_empty() {
            return Err(note);
        }
        let tenant = self.tenant.to_string();
        let number: u64 = tenant.parse().map_err(|_| note)?;
        Ok(format!("{id} of {number}"))
    }

    #[cache_invalidate("find:<self.tenant>:<id>", "result:<result>", cache = self.cache)]
    async fn change(&mut self, id: &str, (times, _): (u64, u64)) -> u64 {
        times
    }
}

async fn a_method_under_async_trait_is_cached(cache: Cache) {
    let users: &dyn Boxed = &Users::new(&cache);
    let changing: &mut dyn Boxed = &mut Users::new(&cache);
    miss_hit_invalidate!(
        cache,
        users.find("Ada", "?".to_owned()),
        Ok("Ada of 7".to_owned()),
        changing.change("Ada", (1, 2))
    );
    assert_eq!(
        users.find("", "none".to_owned()).await,
        Err("none".to_owned())
    );
}

async fn a_default_method_under_async_trait_is_cached(cache: Cache) {
    let users: &dyn Boxed = &Users::new(&cache);
    miss_hit_invalidate!(
        cache,
        users.find_default(1),
        Some(1),
        users.change_default(1)
    );
}

#[async_trait(?Send)]
trait Local {
    async fn find_local(&self, id: Rc<u64>) -> u64;
    async fn change_local(&self, id: Rc<u64>) -> Rc<u64>;
}

#[async_trait(?Send)]
impl Local for Users {
    #[cached(key = "local:<self.tenant>:<id>", cache = self.cache)]
    async fn find_local(&self, id: Rc<u64>) -> u64 {
        tokio::task::yield_now().await;
        *id * self.tenant
    }

    #[cache_invalidate("local:<self.tenant>:<id>", cache = self.cache)]
    async fn change_local(&self, id: Rc<u64>) -> Rc<u64> {
        id
    }
}

async fn a_method_whose_future_is_not_send_is_cached(cache: Cache) {
    let users: &dyn Local = &Users::new(&cache);
    let id = Rc::new(6);
    miss_hit_invalidate!(
        cache,
        users.find_local(id.clone()),
        42,
        users.change_local(id.clone())
    );
}

/// Each number of the sequence is an entry of its own.
#[async_recursion]
#[cached(key = "fibonacci:<n>", cache = cache, skip(cache))]
async fn fibonacci(cache: &Cache, n: u64) -> u64 {
    match n {
        0 | 1 => n,
        _ => fibonacci(cache, n - 2).await + fibonacci(cache, n - 1).await,
    }
}

#[cache_invalidate("fibonacci:<n>", cache = cache)]
#[async_recursion]
async fn forget(cache: &Cache, n: u64) -> u64 {
    if n == 0 {
        0
    } else {
        forget(cache, n - 1).await
    }
}

async fn each_call_of_a_recursive_function_is_cached(cache: Cache) {
    assert_eq!(fibonacci(&cache, 10).await, 55);
    assert_eq!(counts(&cache), [8, 11, 11]);
    assert_eq!(forget(&cache, 10).await, 0);
    assert_eq!(fibonacci(&cache, 10).await, 55);
    assert_eq!(counts(&cache)[2], 22, "each entry was invalidated");
}
