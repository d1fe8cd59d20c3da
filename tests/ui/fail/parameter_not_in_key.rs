use cache_runtime::cached;

#[cached(key = "user:<id>", ttl = 60)]
async fn get_user(tenant: u64, id: u64) -> u64 {
    tenant + id
}

fn main() {}
