use cache_runtime::{cache_invalidate, cached};

#[cached(key = "assigned:<users>")]
async fn assigned(users: Option<&[u64]>) -> usize {
    users.map_or(0, <[u64]>::len)
}

#[cache_invalidate("assigned:<users>")]
async fn assign(users: &[u64]) {
    println!("{users:?}");
}
