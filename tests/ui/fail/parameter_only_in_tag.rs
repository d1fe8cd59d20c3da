use cache_runtime::cached;

#[cached(key = "user:<id>", invalidate_on = "tenant:<tenant>")]
async fn get_user(tenant: u64, id: u64) -> u64 {
    tenant + id
}

fn main() {}
