use cache_runtime::{cache_invalidate, cached};

#[cached(key = "file:<tenant>:<id>")]
async fn find(tenant: u64, id: u64) -> Option<String> {
    Some(format!("{tenant}/{id}"))
}

#[cache_invalidate("file:<id>:<tenant>")]
async fn delete(tenant: u64, id: u64) {
    println!("deleting {id} of {tenant}");
}
