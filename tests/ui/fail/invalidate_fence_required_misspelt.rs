use cache_runtime::cache_invalidate;

#[cache_invalidate("user:<id>", fence = "30s", fence_requird)]
async fn update_user(id: u64) -> Result<(), cache_runtime::Error> {
    Ok(())
}

fn main() {}
