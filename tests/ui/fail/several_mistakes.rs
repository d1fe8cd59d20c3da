use cache_runtime::cached;

#[cached(key = "user:<idd>", tll = 60, none_ttl = 0, invalidate_on = "all users")]
fn get_user(tenant: u64, id: u64) -> u64 {
    tenant + id
}

fn main() {}
