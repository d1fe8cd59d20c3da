use cache_runtime::cache_invalidate;

#[cache_invalidate("user:<id>", fence = id)]
async fn update_user(id: u64) -> Result<u64, std::io::Error> {
    Ok(id)
}

fn main() {}
