use cache_runtime::cache_invalidate;

#[cache_invalidate("user:<id>", each(id))]
async fn rename_users(ids: &[u64]) {}

#[cache_invalidate("user:<id>", each)]
async fn remove_users(ids: &[u64]) {}

#[cache_invalidate("user:<id>", each = ids)]
async fn move_users(ids: &[u64]) {}

fn main() {}
