use cache_runtime::CacheTag;

#[derive(CacheTag)]
#[cache_tag("tenant:<1>:users")]
struct TenantUsers(u64);

fn main() {}
