use cache_runtime::{cache_defaults, cached};

struct Users {
    cache: u64,
}

#[cache_defaults(cache = self.cache)]
impl Users {
    #[cached(key = "user:<id>")]
    async fn get(&self, id: u64) -> u64 {
        id
    }
}

fn main() {}
