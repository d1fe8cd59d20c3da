use cache_runtime::{cached, prime};

#[cached(key = "user:<id>")]
async fn find(id: u64) -> Result<Option<String>, std::io::Error> {
    Ok(Some(format!("user {id}")))
}

fn main() {
    let _ = prime(find(7), 42);
}
