use cache_runtime::cached;

#[cached(key = "sprint:<id>", version = 2)]
async fn find(id: u64) -> Option<String> {
    Some(format!("sprint {id}"))
}

#[cached(key = "sprint:<id>")]
async fn find_again(id: u64) -> Option<String> {
    find(id).await
}
