use cache_runtime::cached;

#[cached(key = "milestone:<id>")]
async fn find(id: u64) -> Option<String> {
    Some(format!("milestone {id}"))
}

#[cached(key = "milestone:<id>")]
async fn find_due(id: u64) -> Option<u64> {
    Some(id)
}
