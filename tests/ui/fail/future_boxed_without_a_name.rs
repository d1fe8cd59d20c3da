use std::pin::Pin;

use cache_runtime::cached;

#[cached(key = "user:<id>")]
fn get_user(id: u64) -> Pin<Box<impl Future<Output = u64>>> {
    Box::pin(async move { id })
}

fn main() {}
