use cache_runtime::cached;

#[cached(key = "number:<text>", detach)]
async fn number(text: &str) -> Result<u64, &str> {
    text.parse().map_err(|_| text)
}

fn main() {}
