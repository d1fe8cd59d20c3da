use cache_runtime::cached;

#[cached(key = "user:<id>")]
async fn get_user(id: u64) -> Result<String, String> {
    println!("{id}");
}

fn main() {}
