use cache_runtime::cache_invalidate;

#[cache_invalidate("user:<id>")]
fn remove(id: u64) {
    println!("{id}");
}

fn main() {}
