use cache_runtime::cached;

trait Stream {
    type Item;
}

struct Numbers;

impl Stream for Numbers {
    type Item = u64;
}

#[cached(key = "numbers")]
fn numbers() -> impl Stream<Item = u64> {
    Numbers
}

#[cached(key = "numbers")]
async fn numbers_later() -> impl Stream<Item = u64> {
    Numbers
}

fn main() {}
