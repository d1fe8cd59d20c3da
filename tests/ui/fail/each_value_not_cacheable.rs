//! A value of a call for several keys that cannot be cached.

use std::collections::HashMap;

pub struct User;

#[cache_runtime::cached(key = "user:<id>", each(id in ids))]
async fn users(ids: &[u64]) -> Result<HashMap<u64, User>, ()> {
    Ok(ids.iter().map(|id| (*id, User)).collect())
}

fn main() {}
