use cache_runtime::cached;

pub struct User;

#[cached(key = "user:<id>", ttl = |user| user.lifetime(), unless = |user| user.is_guest())]
async fn get_user(id: u64) -> Option<User> {
    (id > 0).then_some(User)
}

fn main() {}
