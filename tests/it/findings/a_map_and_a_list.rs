use std::collections::HashMap;

use cache_runtime::{cache_invalidate, cached};

#[cached(key = "filtered:<filter>")]
async fn filtered(filter: &HashMap<String, String>) -> Vec<u64> {
    vec![filter.len() as u64]
}

#[cache_invalidate("filtered:<filter>")]
async fn forget(filter: &[(String, String)]) {
    println!("{filter:?}");
}
