use cache_runtime::{CacheTag, cache_invalidate};

#[derive(CacheTag)]
#[cache_tag("user:<0>:<1>")]
struct UserTag(u64, u64);

#[cache_invalidate("user:<id>:<result>", each(id in ids))]
async fn rename_users(ids: &[u64]) -> u64 {
    7
}

#[cache_invalidate(UserTag(*id, *result), each(id in ids))]
async fn remove_users(ids: &[u64]) -> u64 {
    7
}

fn main() {}
