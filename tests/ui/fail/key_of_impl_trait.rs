use cache_runtime::{KeyPart, cached};

#[cached(key = "user:<id>")]
async fn find_user(id: impl KeyPart) -> Option<String> {
    let _ = id;
    None
}

fn main() {}
