use cache_runtime::cache_invalidate;

struct User {
    id: u64,
}

#[cache_invalidate("user:<result.idd>")]
async fn update_user(id: u64) -> Result<User, String> {
    Ok(User { id })
}

fn main() {}
