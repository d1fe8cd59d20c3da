use cache_runtime::cache_invalidate;

struct User(u64);

#[cache_invalidate("user:<id>", User(id))]
async fn update_user(id: u64) -> u64 {
    id
}

fn main() {}
