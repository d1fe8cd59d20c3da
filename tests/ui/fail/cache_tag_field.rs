use cache_runtime::CacheTag;

#[derive(CacheTag)]
#[cache_tag("tenant:<tennant>:users")]
struct TenantUsers {
    tenant: u64,
}

fn main() {}
