use cache_runtime::cached;

struct Transaction;

#[cached(key = "user:<id>", skip(tx), detach)]
async fn get_user(tx: &mut Transaction, id: u64) -> u64 {
    let _ = tx;
    id
}

fn main() {}
