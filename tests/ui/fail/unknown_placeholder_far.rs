use cache_runtime::cached;

#[cached(key = "user:<uuid>:<tenant>", ttl = 60)]
async fn get_user(tenant: u64, login: &str) -> u64 {
    tenant + login.len() as u64
}

fn main() {}
