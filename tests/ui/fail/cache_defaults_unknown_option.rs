use cache_runtime::{Cache, cache_defaults, cached};

struct Users {
    tenant: u64,
    cache: Cache,
}

#[cache_defaults(cache = self.cache, key = "user", skip(self.tenant))]
impl Users {
    #[cached(key = "user:<id>")]
    async fn get(&self, id: u64) -> u64 {
        id + self.tenant
    }
}

fn main() {}
