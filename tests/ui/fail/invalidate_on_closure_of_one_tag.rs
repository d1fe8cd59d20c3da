use cache_runtime::{CacheTag, cached};

#[derive(CacheTag)]
#[cache_tag("user:<0>")]
struct UserTag(u64);

#[cached(key = "owner:<id>", invalidate_on = |owner| UserTag(*owner))]
async fn owner(id: u64) -> u64 {
    id + 1
}

fn main() {}
