//! The key of a call for several keys does not name the element.

use std::collections::HashMap;

#[cache_runtime::cached(key = "users", each(id in ids))]
async fn users(ids: &[u64]) -> HashMap<u64, u64> {
    ids.iter().map(|id| (*id, *id)).collect()
}

fn main() {}
