use cache_runtime::cache_invalidate;

struct User(u64);

#[cache_invalidate(User(*result))]
async fn update_user(id: u64) -> u64 {
    id
}

fn main() {}
