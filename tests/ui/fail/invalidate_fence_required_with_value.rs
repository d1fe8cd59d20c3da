use cache_runtime::cache_invalidate;

#[cache_invalidate("user:<id>", fence = "30s", fence_required = true)]
async fn update_user(id: u64) -> Result<u64, cache_runtime::Error> {
    Ok(id)
}

fn main() {}
