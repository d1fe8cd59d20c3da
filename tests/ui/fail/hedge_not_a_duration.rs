use cache_runtime::cached;

#[cached(key = "user:<id>", hedge = 1.5)]
async fn get_user(id: u64) -> Option<u64> {
    Some(id)
}

fn main() {}
