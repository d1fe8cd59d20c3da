use cache_runtime::cache_invalidate;

#[cache_invalidate(key = "user:<id>")]
async fn update_user(id: u64) -> u64 {
    id
}

fn main() {}
