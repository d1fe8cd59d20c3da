use cache_runtime::{CacheTag, cached};

#[derive(CacheTag)]
#[cache_tag("tenant:<0>:users")]
struct TenantUsers(u64);

#[cached(key = "user:<id>", invalidate_on = TenantUsers(tenant))]
async fn get_user(tenant: u64, id: u64) -> u64 {
    tenant + id
}

fn main() {}
