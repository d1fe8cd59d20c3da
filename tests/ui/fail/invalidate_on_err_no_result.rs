use cache_runtime::cache_invalidate;

#[cache_invalidate("user:<id>", on_err = |error: &u64| *error > 0)]
async fn rename_user(id: u64) -> Option<u64> {
    Some(id)
}

fn main() {}
