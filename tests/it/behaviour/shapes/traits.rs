//! Methods of traits: nothing is added to their blocks.

use cache_runtime::{Cache, cache_invalidate, cached};

use super::{miss_hit_invalidate, on_both_tiers};

on_both_tiers! {
    an_async_method
    a_default_body
    a_method_that_returns_a_future
    a_default_body_that_returns_a_future
}

struct Users {
    cache: Cache,
    tenant: u64,
}

impl Users {
    fn new(cache: &Cache) -> Self {
        Self {
            cache: cache.clone(),
            tenant: 7,
        }
    }
}

trait Find {
    fn cache(&self) -> &Cache;

    async fn find(&self, id: u64) -> Option<u64>;
    async fn change(&mut self, id: u64);

    #[cached(key = "default:<id>", cache = self.cache())]
    async fn find_default(&self, id: u64) -> Vec<u64> {
        vec![id]
    }

    #[cache_invalidate("default:<id>", cache = self.cache())]
    async fn change_default(&self, id: u64) {}
}

impl Find for Users {
    fn cache(&self) -> &Cache {
        &self.cache
    }

    #[cached(key = "find:<self.tenant>:<id>", cache = self.cache)]
    async fn find(&self, id: u64) -> Option<u64> {
        Some(self.tenant * id)
    }

    #[cache_invalidate("find:<self.tenant>:<id>", cache = self.cache)]
    async fn change(&mut self, id: u64) {}
}

async fn an_async_method(cache: Cache) {
    let mut users = Users::new(&cache);
    let mut changing = Users::new(&cache);
    miss_hit_invalidate!(cache, users.find(6), Some(42), changing.change(6));
    users.tenant = 8;
    assert_eq!(users.find(6).await, Some(48));
}

async fn a_default_body(cache: Cache) {
    let users = Users::new(&cache);
    miss_hit_invalidate!(cache, users.find_default(1), [1], users.change_default(1));
}

trait Load {
    fn its_cache(&self) -> &Cache;

    fn load(&self, id: u64) -> impl Future<Output = Result<u64, String>> + Send;
    fn reload(&self, id: u64) -> impl Future<Output = ()> + Send;

    #[cached(key = "default:<id>", cache = self.its_cache())]
    fn load_default(&self, id: u64) -> impl Future<Output = u64> + Send {
        async move { id }
    }

    #[cache_invalidate("default:<id>", cache = self.its_cache())]
    fn reload_default(&self, id: u64) -> impl Future<Output = ()> + Send {
        async {}
    }
}

impl Load for Users {
    fn its_cache(&self) -> &Cache {
        &self.cache
    }

    #[cached(key = "load:<self.tenant>:<id>", cache = self.cache)]
    fn load(&self, id: u64) -> impl Future<Output = Result<u64, String>> + Send {
        async move { Ok(self.tenant * id) }
    }

    #[cache_invalidate("load:<self.tenant>:<id>", cache = self.cache)]
    async fn reload(&self, id: u64) {}
}

async fn a_method_that_returns_a_future(cache: Cache) {
    let users = Users::new(&cache);
    miss_hit_invalidate!(cache, users.load(6), Ok(42), users.reload(6));
}

async fn a_default_body_that_returns_a_future(cache: Cache) {
    let users = Users::new(&cache);
    miss_hit_invalidate!(cache, users.load_default(1), 1, users.reload_default(1));
}
