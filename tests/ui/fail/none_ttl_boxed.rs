use std::pin::Pin;

use cache_runtime::cached;

#[cached(key = "user:<id>", none_ttl = 5)]
fn get_user(id: u64) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    Box::pin(async move { id })
}

fn main() {}
