use cache_runtime::{cache_invalidate, cached};

#[cached(key = "label:<id>")]
async fn find(id: u64) -> Option<String> {
    Some(format!("label {id}"))
}

#[cache_invalidate("label:<id>")]
async fn delete(id: &str) {
    println!("deleting {id}");
}
