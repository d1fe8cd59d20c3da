//! A misspelt element.

use std::collections::HashMap;

#[cache_runtime::cached(key = "user:<user_idd>", each(user_id in ids))]
async fn users(ids: &[u64]) -> HashMap<u64, u64> {
    ids.iter().map(|id| (*id, *id)).collect()
}

fn main() {}
