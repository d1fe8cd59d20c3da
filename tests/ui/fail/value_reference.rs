use cache_runtime::cached;

#[cached(key = "word:<text>")]
async fn first_word(text: &'static str) -> Result<&'static str, String> {
    text.split(' ').next().ok_or_else(String::new)
}

fn main() {}
