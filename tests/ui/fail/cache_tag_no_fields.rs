use cache_runtime::CacheTag;

#[derive(CacheTag)]
#[cache_tag("tenant:<0>:users")]
struct TenantUsers;

fn main() {}
