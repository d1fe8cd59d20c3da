//! The body of a call for several keys, which may run more than once, consumes another argument.

use std::collections::HashMap;

#[cache_runtime::cached(key = "user:<tenant>:<id>", each(id in ids))]
async fn users(tenant: String, ids: &[u64]) -> HashMap<u64, String> {
    let id = ids[0];
    HashMap::from([(id, tenant)])
}

fn main() {}
