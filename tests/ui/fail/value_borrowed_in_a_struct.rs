use cache_runtime::cached;

#[derive(Clone, serde::Serialize)]
struct Word<'a>(&'a str);

#[cached(key = "word:<text>", local)]
async fn first_word<'a>(text: &'a str) -> Word<'a> {
    Word(text)
}

fn main() {}
