use cache_runtime::cache_invalidate;

#[cache_invalidate("user:<id>", each(id in ids))]
async fn rename_users(ids: impl IntoIterator<Item = u64>) {
    for id in ids {
        println!("{id}");
    }
}

fn main() {}
