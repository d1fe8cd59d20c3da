//! An old value for slow loads, in a call for several keys: its load can't go on in a task.

use std::collections::HashMap;

#[cache_runtime::cached(key = "user:<id>", each(id in ids), stale_if_error = "1h", stale_if_slow = "1s", detach)]
async fn users(ids: Vec<u64>) -> Result<HashMap<u64, u64>, String> {
    Ok(ids.into_iter().map(|id| (id, id)).collect())
}

fn main() {}
