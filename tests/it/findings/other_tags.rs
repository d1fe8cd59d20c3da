use cache_runtime::{cache_invalidate, cached};

#[cached(key = "board:<id>", invalidate_on = "boards")]
async fn find(id: u64) -> Option<String> {
    Some(format!("board {id}"))
}

#[cached(key = "board:<id>")]
async fn find_again(id: u64) -> Option<String> {
    find(id).await
}

#[cache_invalidate("boards")]
async fn delete_all() {
    println!("deleting all boards");
}
