use cache_runtime::cached;

#[cached(key = "release:<id>", invalidate_on = "releases")]
async fn find(id: u64) -> Option<String> {
    Some(format!("release {id}"))
}
