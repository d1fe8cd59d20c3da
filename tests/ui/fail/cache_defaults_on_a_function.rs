use cache_runtime::{cache_defaults, cached};

#[cache_defaults(ttl = 60)]
#[cached(key = "user:<id>")]
async fn get_user(id: u64) -> u64 {
    id
}

fn main() {}
