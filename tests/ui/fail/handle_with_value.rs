use cache_runtime::cached;

#[cached(key = "user:<id>", handle = true)]
async fn find(id: u64) -> u64 {
    id
}

fn main() {}
