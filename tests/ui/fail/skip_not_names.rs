use cache_runtime::cached;

#[cached(key = "user:<id>", skip = verbose)]
async fn get_user(id: u64, verbose: bool) -> u64 {
    if verbose { 0 } else { id }
}

fn main() {}
