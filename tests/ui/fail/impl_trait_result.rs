use cache_runtime::cached;

#[cached(key = "letters:<text>")]
async fn letters(text: &str) -> impl Iterator<Item = char> {
    text.chars().collect::<Vec<_>>().into_iter()
}

fn main() {}
