use cache_runtime::{cached, prime};

#[cached(key = "user:<id>")]
async fn find(id: u64) -> u64 {
    id
}

async fn all() {
    let _ = prime(find(7).await, 42).await;
}

fn main() {}
