use cache_runtime::CacheTag;

#[derive(CacheTag)]
#[cache_tag("tenant:{tenant}:users")]
struct TenantUsers {
    tenant: u64,
}

fn main() {}
