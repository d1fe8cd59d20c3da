use cache_runtime::cached;

#[cached(key = "word:<text>")]
async fn first_word(text: &str) -> Result<Option<(usize, &str)>, String> {
    Ok(text.split(' ').next().map(|word| (word.len(), word)))
}

fn main() {}
