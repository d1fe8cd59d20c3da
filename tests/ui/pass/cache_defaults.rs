//! What the attributes of a block have in common.
#![deny(warnings, clippy::all, clippy::pedantic)]
#![allow(dead_code)]

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use cache_runtime::{Cache, cache_defaults, cache_invalidate, cached};

static OTHER: LazyLock<Cache> = LazyLock::new(|| Cache::builder().build().expect("a cache"));

struct Users {
    tenant: u64,
    limit: u64,
    cache: Cache,
}

#[cache_defaults(cache = self.cache, ttl = "10m", skip(trace, limit, T, self.limit))]
impl Users {
    const NAME: &'static str = { "users" };

    #[cached(key = "user:<self.tenant>:<id>")]
    async fn get<T: Sync>(&self, id: u64, trace: &T) -> u64 {
        let _ = trace;
        id + self.tenant + self.limit
    }

    /// The key names what the others skip.
    #[cached(key = "users:<self.tenant>:<self.limit>:<limit>:<trace>", ttl = 5)]
    async fn list(&self, limit: u64, trace: u64) -> Vec<u64> {
        vec![self.tenant, self.limit, limit, trace]
    }

    #[cache_runtime::cached(key = "count", cache = OTHER)]
    async fn count() -> u64 {
        7
    }

    #[cfg_attr(all(), cached(key = "pages:<self.tenant>", skip(self.tenant.pages)))]
    #[cfg(any())]
    async fn pages(&self) -> u64 {
        self.tenant.pages
    }

    #[cfg_attr(all(), cached(key = "first:<id>", skip(self.tenant)), must_use)]
    async fn first(&self, id: u64, trace: u64) -> u64 {
        id + trace + self.tenant
    }

    #[cache_invalidate("user:<self.tenant>:<id>")]
    async fn remove(&self, id: u64) -> u64 {
        id
    }

    fn name(&self) -> String {
        format!("{} of {}", Self::NAME, self.tenant)
    }
}

#[async_trait]
trait Find {
    async fn find(&self, id: u64) -> u64;
    async fn change(&self, id: u64);
}

#[cache_defaults(cache = self.cache, skip(self))]
#[async_trait]
impl Find for Users {
    #[cached(key = "find:<id>")]
    async fn find(&self, id: u64) -> u64 {
        id + self.tenant
    }

    #[cache_invalidate("find:<id>")]
    async fn change(&self, id: u64) {
        let _ = id;
    }
}

struct Others(Cache);

#[async_trait]
#[cache_defaults(cache = self.0, ttl = |id| Duration::from_secs(*id))]
impl Find for Others {
    #[cached(key = "other:<id>")]
    async fn find(&self, id: u64) -> u64 {
        id
    }

    #[cache_invalidate("other:<id>")]
    async fn change(&self, id: u64) {
        let _ = id;
    }
}

#[cache_defaults(cache = self.cache())]
trait Default {
    fn cache(&self) -> &Cache;

    #[cached(key = "default:<id>")]
    async fn find(&self, id: u64) -> u64 {
        id
    }
}

struct Free;

#[cache_defaults(cache = OTHER)]
impl Free {
    #[cached(key = "free:<id>")]
    async fn find(id: u64) -> u64 {
        id
    }

    #[cache_invalidate("free:<id>")]
    async fn change(id: u64) {
        let _ = id;
    }
}

macro_rules! repository {
    ($name:ident, $ttl:expr) => {
        struct $name {
            cache: Cache,
        }

        #[cache_defaults(cache = self.cache, ttl = $ttl)]
        impl $name {
            #[cached(key = "made:<Self>:<id>")]
            async fn find(&self, id: u64) -> u64 {
                id
            }
        }
    };
}

repository!(Made, Duration::from_secs(5));

macro_rules! methods {
    ($item:item $(#[$attribute:meta])* $name:ident) => {
        #[cache_defaults(cache = self.cache)]
        impl Made {
            $item

            $(#[$attribute])*
            async fn $name(&self, id: u64) -> u64 {
                id
            }
        }
    };
}

methods! {
    #[cached(key = "whole:<id>")]
    async fn whole(&self, id: u64) -> u64 {
        id
    }

    /// Only the attributes are given.
    #[cached(key = "named:<id>")]
    named
}

fn main() {
    let made = cache_runtime::registry::all().filter(|function| {
        let path = function.path;
        path.ends_with("::whole") || path.ends_with("::named")
    });
    let caches: Vec<_> = made.map(|function| function.cache).collect();
    assert_eq!(caches, [Some("self.cache"); 2]);
}
