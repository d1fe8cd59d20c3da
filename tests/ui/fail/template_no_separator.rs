use cache_runtime::cached;

#[cached(key = "user<tenant><id>")]
async fn get_user(tenant: u64, id: u64) -> u64 {
    tenant + id
}

fn main() {}
