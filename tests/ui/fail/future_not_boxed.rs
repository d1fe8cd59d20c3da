use std::future::Ready;

use cache_runtime::cached;

#[cached(key = "user:<id>")]
fn get_user(id: u64) -> Ready<u64> {
    std::future::ready(id)
}

fn main() {}
