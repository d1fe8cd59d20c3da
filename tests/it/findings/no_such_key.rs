use cache_runtime::{cache_invalidate, cached};

#[cached(key = "customer:<id>")]
async fn find(id: u64) -> Option<String> {
    Some(format!("customer {id}"))
}

#[cache_invalidate("costumer:<id>")]
async fn rename(id: u64, name: &str) {
    println!("{id} is {name}");
}
