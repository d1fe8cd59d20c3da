//! The list of a call for several keys is borrowed mutably.

use std::collections::HashMap;

#[cache_runtime::cached(key = "user:<id>", each(id in ids))]
async fn users(ids: &mut [u64]) -> HashMap<u64, u64> {
    ids.sort_unstable();
    ids.iter().map(|id| (*id, *id)).collect()
}

fn main() {}
