//! Values that do not say which element they are of.

#[cache_runtime::cached(key = "user:<id>", each(id in ids))]
async fn users(ids: &[u64]) -> Vec<String> {
    ids.iter().map(u64::to_string).collect()
}

fn main() {}
