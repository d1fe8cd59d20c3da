use cache_runtime::{Cache, cache_defaults, cached};

struct Users {
    cache: Cache,
}

#[cache_defaults(cache = self.cache)]
impl Users {
    #[cached(key = "user:<id>")]
    async fn get(&self, id: u64) -> u64 {
        id
    }

    #[cached(key = "count")]
    async fn count() -> u64 {
        7
    }
}

fn main() {}
