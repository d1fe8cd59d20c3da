use cache_runtime::cache_invalidate;

#[cache_invalidate("user:<id>")]
fn rename(id: u64) -> Result<(), String> {
    println!("{id}");
    Ok(())
}

fn main() {}
