use cache_runtime::cached;

#[cached(key = "size:<path>", skip(Self))]
async fn size(path: &str) -> usize {
    path.len()
}

fn main() {}
