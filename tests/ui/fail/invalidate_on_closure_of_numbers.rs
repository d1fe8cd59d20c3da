use cache_runtime::cached;

#[cached(key = "page:<nr>", invalidate_on = |page| page.iter().copied())]
async fn page(nr: u64) -> Vec<u64> {
    vec![nr]
}

fn main() {}
