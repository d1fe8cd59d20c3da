use cache_runtime::cache_invalidate;

#[cache_invalidate("user:<id>", 7)]
async fn update_user(id: u64) -> u64 {
    id
}

fn main() {}
