use cache_runtime::cache_invalidate;

struct User {
    rating: f32,
}

#[cache_invalidate("rating:<result.rating>")]
async fn update_user(rating: u8) -> Result<User, String> {
    Ok(User { rating: rating.into() })
}

fn main() {}
