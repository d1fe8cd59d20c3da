use cache_runtime::CacheTag;

#[derive(CacheTag)]
#[cache_tag("users")]
struct TenantUsers(#[cache_tag("tenant:<0>")] u64);

fn main() {}
