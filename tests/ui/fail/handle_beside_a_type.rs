use cache_runtime::cached;

mod find {}

#[cached(key = "user:<id>", handle)]
async fn find(id: u64) -> u64 {
    id
}

fn main() {}
