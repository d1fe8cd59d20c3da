use cache_runtime::cached;

#[cached(key = "user:<id>", hedge = "0s")]
async fn get_user(id: u64) -> Option<u64> {
    Some(id)
}

fn main() {}
