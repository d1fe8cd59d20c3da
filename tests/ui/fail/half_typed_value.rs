use cache_runtime::cached;

#[cached(key = )]
async fn find(id: u64) -> Result<Option<String>, String> {
    Ok(Some(id.to_string()))
}

async fn name_length() -> Result<usize, String> {
    let name = find(1).await?;
    Ok(name.map_or(0, |name| name.len()))
}

fn main() {
    drop(name_length());
}
