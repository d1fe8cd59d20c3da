use cache_runtime::cached;

#[cached(key = "user:<id>", ttl = 10 * 60)]
async fn get_user(id: u64) -> u64 {
    id
}

fn main() {}
