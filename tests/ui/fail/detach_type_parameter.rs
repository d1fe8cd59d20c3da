use cache_runtime::{KeyPart, cached};

#[cached(key = "text:<id>", skip(K), detach)]
async fn text<K: KeyPart + Send>(id: K) -> String {
    let _ = id;
    String::new()
}

fn main() {}
