use cache_runtime::cached;

#[cached(key = "page:<nr>", invalidate_on = || ["pages"])]
async fn page(nr: u64) -> Vec<u64> {
    vec![nr]
}

fn main() {}
