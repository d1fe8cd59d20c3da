use cache_runtime::cached;

#[cached(key = "answer")]
const fn answer() -> u64 {
    42
}

fn main() {}
