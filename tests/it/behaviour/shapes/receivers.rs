//! Methods with each kind of receiver, and functions without one.

use std::pin::Pin;
use std::sync::Arc;

use cache_runtime::{Cache, cache_invalidate, cached};

use super::{Users, counts, miss_hit_invalidate, on_every_backend};

on_every_backend! {
    a_method_of_a_shared_reference_is_cached
    a_method_of_a_mutable_reference_is_cached
    a_method_that_consumes_its_receiver_is_cached
    a_method_of_an_arc_is_cached
    a_method_of_a_box_is_cached
    a_method_of_a_pin_is_cached
    a_function_without_a_receiver_is_cached
}

impl Users {
    #[cached(key = "ref:<self.tenant>:<id>", cache = self.cache)]
    async fn by_ref(&self, id: u64) -> u64 {
        self.tenant * id
    }

    #[cache_invalidate("ref:<self.tenant>:<id>", cache = self.cache)]
    async fn change_by_ref(&self, id: u64) {}

    #[cached(key = "mut:<self.tenant>", cache = self.cache)]
    async fn by_mut(&mut self) -> u64 {
        let tenant = self.tenant;
        self.tenant += 1;
        tenant
    }

    #[cache_invalidate("mut:<self.tenant>", "mut:<result>", cache = self.cache)]
    async fn change_by_mut(&mut self) -> u64 {
        self.tenant -= 1;
        self.tenant
    }

    #[cached(key = "value:<self.tenant>", cache = self.cache)]
    async fn by_value(self) -> Vec<u64> {
        let Self { tenant, .. } = self;
        vec![tenant]
    }

    #[cache_invalidate("value:<self.tenant>", cache = self.cache)]
    async fn change_by_value(mut self) -> Self {
        self.tenant += 1;
        self
    }

    #[cached(key = "arc:<self.tenant>", cache = self.cache)]
    async fn by_arc(self: Arc<Self>) -> u64 {
        Arc::unwrap_or_clone(self).tenant
    }

    #[cache_invalidate("arc:<self.tenant>", cache = self.cache)]
    async fn change_by_arc(self: Arc<Self>) -> Arc<Self> {
        self
    }

    #[cached(key = "box:<self.tenant>", cache = self.cache)]
    async fn by_box(self: Box<Self>) -> u64 {
        let users: Self = *self;
        users.tenant
    }

    #[cache_invalidate("box:<self.tenant>", cache = self.cache)]
    async fn change_by_box(self: Box<Self>) -> Box<Self> {
        self
    }

    #[cached(key = "pin:<self.tenant>", cache = self.cache)]
    async fn by_pin(self: Pin<&mut Self>) -> u64 {
        let users = self.get_mut();
        users.tenant
    }

    #[cache_invalidate("pin:<self.tenant>", cache = self.cache)]
    async fn change_by_pin(mut self: Pin<&mut Self>) {
        self.as_mut().get_mut().tenant += 0;
    }

    #[cached(key = "none:<id>", cache = cache, skip(cache))]
    async fn none(cache: &Cache, id: u64) -> u64 {
        id
    }

    #[cache_invalidate("none:<id>", cache = cache)]
    async fn change_none(cache: &Cache, id: u64) {}
}

async fn a_method_of_a_shared_reference_is_cached(cache: Cache) {
    let users = Users::new(&cache);
    miss_hit_invalidate!(cache, users.by_ref(6), 42, users.change_by_ref(6));
}

async fn a_method_of_a_mutable_reference_is_cached(cache: Cache) {
    let mut users = Users::new(&cache);
    assert_eq!(users.by_mut().await, 7);
    users.tenant = 7;
    assert_eq!(users.by_mut().await, 7);
    assert_eq!(users.tenant, 7, "on a hit the body does not run");
    users.tenant = 8;
    assert_eq!(users.change_by_mut().await, 7);
    assert_eq!(users.by_mut().await, 7);
    assert_eq!(counts(&cache), [1, 2, 2]);
}

async fn a_method_that_consumes_its_receiver_is_cached(cache: Cache) {
    let users = || Users::new(&cache);
    miss_hit_invalidate!(cache, users().by_value(), [7], users().change_by_value());
}

async fn a_method_of_an_arc_is_cached(cache: Cache) {
    let users = || Arc::new(Users::new(&cache));
    miss_hit_invalidate!(cache, users().by_arc(), 7, users().change_by_arc());
}

async fn a_method_of_a_box_is_cached(cache: Cache) {
    let users = || Box::new(Users::new(&cache));
    miss_hit_invalidate!(cache, users().by_box(), 7, users().change_by_box());
}

async fn a_method_of_a_pin_is_cached(cache: Cache) {
    let mut users = std::pin::pin!(Users::new(&cache));
    miss_hit_invalidate!(
        cache,
        users.as_mut().by_pin(),
        7,
        users.as_mut().change_by_pin()
    );
}

async fn a_function_without_a_receiver_is_cached(cache: Cache) {
    miss_hit_invalidate!(
        cache,
        Users::none(&cache, 1),
        1,
        Users::change_none(&cache, 1)
    );
}
