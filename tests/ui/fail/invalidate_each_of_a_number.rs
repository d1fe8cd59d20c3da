use cache_runtime::cache_invalidate;

#[cache_invalidate("user:<id>", each(id in ids))]
async fn rename_users(ids: u64) {}

fn main() {}
