use cache_runtime::{cache_invalidate, cached};

#[cached(key = "user:*")]
async fn users() -> Vec<u64> {
    vec![1]
}

#[cache_invalidate("tenant:<tenant>:*")]
async fn remove_tenant(tenant: u64) {
    let _ = tenant;
}

fn main() {}
