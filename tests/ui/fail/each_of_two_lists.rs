//! A call for several keys of two lists.

use std::collections::HashMap;

#[cache_runtime::cached(key = "user:<team>:<id>", each(team in teams, id in ids))]
async fn users(teams: &[u64], ids: &[u64]) -> HashMap<u64, u64> {
    ids.iter().map(|id| (*id, teams.len() as u64)).collect()
}

fn main() {}
