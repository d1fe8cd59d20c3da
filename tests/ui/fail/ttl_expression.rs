use cache_runtime::cached;

#[cached(key = "user:<id>", ttl = std::time::Duration::from_secs(60))]
async fn get_user(id: u64) -> u64 {
    id
}

fn main() {}
