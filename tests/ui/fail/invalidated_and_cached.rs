#[cache_runtime::cache_invalidate("users")]
#[cache_runtime::cached(key = "user:<id>")]
async fn get_user(id: u64) -> u64 {
    id
}

fn main() {}
