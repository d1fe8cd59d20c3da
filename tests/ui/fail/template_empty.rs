use cache_runtime::cached;

#[cached(key = "")]
async fn get_users() -> Vec<u64> {
    Vec::new()
}

fn main() {}
