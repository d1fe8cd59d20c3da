use cache_runtime::cached;

#[cached(key = "sum:<a>:<b>", detach)]
async fn sum((a, b): &(u64, u64)) -> u64 {
    a + b
}

fn main() {}
