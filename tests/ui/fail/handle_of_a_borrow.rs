use cache_runtime::cached;

struct Unreadable<'a>(&'a str);

#[cached(key = "user:<name>", handle)]
async fn find(name: &str) -> Result<u64, Unreadable<'_>> {
    name.parse().map_err(|_| Unreadable(name))
}

fn main() {}
