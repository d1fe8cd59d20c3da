//! A call for several keys that returns no collection.

use std::collections::HashMap;

#[cache_runtime::cached(key = "user:<id>", each(id in ids))]
async fn users(ids: &[u64]) -> Option<HashMap<u64, u64>> {
    Some(ids.iter().map(|id| (*id, *id)).collect())
}

fn main() {}
