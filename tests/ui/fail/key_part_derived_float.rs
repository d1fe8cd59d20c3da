use cache_runtime::KeyPart;

#[derive(KeyPart)]
struct Range {
    low: f64,
    high: u64,
}

fn main() {}
