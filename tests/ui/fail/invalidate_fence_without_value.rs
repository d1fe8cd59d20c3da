use cache_runtime::cache_invalidate;

#[cache_invalidate("user:<id>", fence)]
async fn update_user(id: u64) -> Result<(), std::io::Error> {
    Ok(())
}

fn main() {}
