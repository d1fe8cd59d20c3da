use cache_runtime::cache_invalidate;

struct NotFound;

#[cache_invalidate("user:<id>", fence = "30s", fence_required)]
async fn update_user(id: u64) -> Result<(), NotFound> {
    Err(NotFound)
}

fn main() {}
