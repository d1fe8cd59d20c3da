use cache_runtime::cached;

#[cached(key = "user:<id>", tags = ["users"], swr = "30s")]
async fn get_user(id: u64) -> u64 {
    id
}

fn main() {}
