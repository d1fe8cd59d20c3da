use cache_runtime::cached;

#[cached(key = "all users")]
async fn get_users() -> Vec<u64> {
    Vec::new()
}

fn main() {}
