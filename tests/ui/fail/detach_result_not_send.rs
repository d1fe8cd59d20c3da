use std::error::Error;

use cache_runtime::cached;

#[cached(key = "number:<text>", detach)]
async fn number(text: String) -> Result<u64, Box<dyn Error>> {
    Ok(text.parse()?)
}

fn main() {}
