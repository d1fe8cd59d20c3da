use cache_runtime::cache_invalidate;

#[cache_invalidate("user:<id>", cache = )]
async fn rename(id: u64, name: &str) -> Result<String, String> {
    Ok(format!("{id} {name}"))
}

async fn renamed_length() -> Result<usize, String> {
    let name = rename(1, "Grace").await?;
    Ok(name.len())
}

fn main() {
    drop(renamed_length());
}
