use cache_runtime::CacheTag;

#[derive(CacheTag)]
#[cache_tag("tenant:<tenant>:users")]
struct TenantPage {
    tenant: u64,
    page: u32,
}

fn main() {}
