use std::borrow::Cow;

use cache_runtime::cached;

#[cached(key = "name:<name>")]
async fn name(name: &str) -> Result<Cow<'_, str>, std::io::Error> {
    Ok(name.into())
}

fn main() {}
