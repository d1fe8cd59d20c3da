use cache_runtime::CacheTag;

#[derive(CacheTag)]
#[cache_tag("tenant:<0>:users")]
struct TenantUsers(#[cache_tag(skip)] u64);

fn main() {}
