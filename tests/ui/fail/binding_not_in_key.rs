use cache_runtime::cached;

#[cached(key = "cell:<x>")]
async fn cell((x, y): (u64, u64)) -> u64 {
    x * y
}

fn main() {}
