use cache_runtime::cache_invalidate;

#[cache_invalidate("user:<ids>", each(ids in ids))]
async fn rename_users(ids: &[u64]) {}

fn main() {}
