use cache_runtime::cached;

#[cached(key = "word:<text>")]
async fn first_word(text: &str) -> Option<&str> {
    text.split(' ').next()
}

fn main() {}
