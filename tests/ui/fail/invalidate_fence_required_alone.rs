use cache_runtime::cache_invalidate;

#[cache_invalidate("user:<id>", fence_required)]
async fn update_user(id: u64) -> Result<(), cache_runtime::Error> {
    Ok(())
}

fn main() {}
