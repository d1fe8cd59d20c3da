use cache_runtime::{cache_invalidate, cached};

#[cached(key = "user:<id>")]
#[cache_invalidate("users")]
async fn get_user(id: u64) -> u64 {
    id
}

fn main() {}
