use cache_runtime::cached;

#[cached(key = "page:<page + 1>")]
async fn get_page(page: u64) -> u64 {
    page
}

fn main() {}
