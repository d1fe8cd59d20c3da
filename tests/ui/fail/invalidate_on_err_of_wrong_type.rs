use cache_runtime::cache_invalidate;

#[cache_invalidate("user:<id>", on_err = |error| error + 1)]
async fn rename_user(id: u64) -> Result<(), u64> {
    Err(id)
}

fn main() {}
