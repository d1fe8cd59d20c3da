use std::pin::Pin;

use cache_runtime::cached;

#[derive(Clone)]
struct User;

#[cached(key = "user:<id>")]
fn get_user(id: u64) -> Pin<Box<dyn Future<Output = Option<User>>>> {
    Box::pin(async move { (id > 0).then_some(User) })
}

fn main() {}
