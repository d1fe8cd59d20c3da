use cache_runtime::cache_invalidate;

#[cache_invalidate("user:<resul.id>")]
async fn update_user(id: u64) -> u64 {
    id
}

fn main() {}
