use cache_runtime::CacheTag;

#[derive(CacheTag)]
struct TenantUsers(u64);

fn main() {}
