//! The ids of the result are of another type than the elements.

use std::collections::HashMap;

#[cache_runtime::cached(key = "user:<id>", each(id in ids))]
async fn users(ids: &[u64]) -> HashMap<u32, u64> {
    ids.iter().map(|id| (0, *id)).collect()
}

fn main() {}
