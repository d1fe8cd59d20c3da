use cache_runtime::{cache_invalidate, cached};

#[cached(key = "comment:<id>")]
async fn find(id: u64) -> Option<String> {
    Some(format!("comment {id}"))
}

#[cache_invalidate("comment:<ids>")]
async fn delete_all(ids: &[u64]) {
    println!("deleting {ids:?}");
}
