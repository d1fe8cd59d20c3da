use std::rc::Rc;

use cache_runtime::cached;

#[cached(key = "user:<id>", detach)]
async fn get_user(id: u64) -> u64 {
    let id = Rc::new(id);
    std::future::ready(()).await;
    *id
}

fn main() {}
