use cache_runtime::{cached, key_name};

#[key_name("user")]
#[cached(key = "user:<id>")]
async fn find_user(id: u64) -> u64 {
    id
}

fn main() {}
