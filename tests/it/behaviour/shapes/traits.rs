//! Methods of traits. The attributes add nothing to the `trait` and `impl` blocks.

use cache_runtime::{Cache, cache_invalidate, cached};

use super::{Users, miss_hit_invalidate, on_every_backend};

on_every_backend! {
    an_async_method_of_a_trait_is_cached
    a_default_method_is_cached
    a_method_that_returns_a_future_is_cached
    a_default_method_that_returns_a_future_is_cached
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

async fn an_async_method_of_a_trait_is_cached(cache: Cache) {
    let mut users = Users::new(&cache);
    let mut changing = Users::new(&cache);
    miss_hit_invalidate!(cache, users.find(6), Some(42), changing.change(6));
    users.tenant = 8;
    assert_eq!(users.find(6).await, Some(48));
}

async fn a_default_method_is_cached(cache: Cache) {
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

async fn a_method_that_returns_a_future_is_cached(cache: Cache) {
    let users = Users::new(&cache);
    miss_hit_invalidate!(cache, users.load(6), Ok(42), users.reload(6));
}

async fn a_default_method_that_returns_a_future_is_cached(cache: Cache) {
    let users = Users::new(&cache);
    miss_hit_invalidate!(cache, users.load_default(1), 1, users.reload_default(1));
}
