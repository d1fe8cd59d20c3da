use cache_runtime::cache_invalidate;

struct User {
    id: u64,
}

#[cache_invalidate("user:<result.id>", fence = "30s")]
async fn add_user(name: &str) -> Result<User, std::io::Error> {
    Ok(User { id: name.len() as u64 })
}

fn main() {}
