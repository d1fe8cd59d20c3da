//! Options that don't go with a call for several keys.

use std::collections::HashMap;

#[cache_runtime::cached(key = "user:<id>", each(id in ids), detach, handle)]
async fn users(ids: Vec<u64>) -> HashMap<u64, u64> {
    ids.into_iter().map(|id| (id, id)).collect()
}

fn main() {}
