use cache_runtime::{CacheTag, cached};

#[derive(CacheTag)]
#[cache_tag("user:<0>")]
struct User(u64);

#[cached(key = "newest", invalidate_on = User(result.id))]
async fn newest() -> u64 {
    7
}

fn main() {}
