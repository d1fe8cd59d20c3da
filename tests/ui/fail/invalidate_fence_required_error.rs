use cache_runtime::cache_invalidate;

struct NotFound;

#[cache_invalidate("user:<id>", fence = "30s", fence_required)]
async fn update_user(id: u64) -> Result<u64, NotFound> {
    if id == 0 { Err(NotFound) } else { Ok(id) }
}

fn main() {}
