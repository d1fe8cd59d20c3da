use cache_runtime::{Codec, cached};

#[cached(key = "user:<id>", codec = Codec::CBOR)]
async fn get_user(id: u64) -> u64 {
    id
}

fn main() {}
