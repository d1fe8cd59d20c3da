use cache_runtime::{cache_invalidate, cached};

#[cached(key = "team:<id>")]
async fn find(id: u64) -> Option<String> {
    Some(format!("team {id}"))
}

#[cache_invalidate("taem:<id>")]
async fn rename(id: u64, name: &str) {
    println!("{id} is {name}");
}
