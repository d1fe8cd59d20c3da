use cache_runtime::cache_invalidate;

#[cache_invalidate("user:<id>", fence = "30s", fence_required)]
async fn update_user(id: u64) -> Option<u64> {
    Some(id)
}

fn main() {}
