use cache_runtime::{cache_invalidate, cached};

#[cached(key = "login:<name.to_lowercase()>")]
async fn find(name: &str) -> Option<u64> {
    (!name.is_empty()).then_some(1)
}

#[cache_invalidate("login:<name>")]
async fn rename(name: &str) {
    println!("renaming {name}");
}
