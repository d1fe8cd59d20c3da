//! The list of a call for several keys is no parameter.

use std::collections::HashMap;

#[cache_runtime::cached(key = "user:<id>", each(id in ids.iter()), skip(ids))]
async fn users(ids: &[u64]) -> HashMap<u64, u64> {
    ids.iter().map(|id| (*id, *id)).collect()
}

fn main() {}
