use std::rc::Rc;

use cache_runtime::cached;

#[cached(key = "user:<id>", detach)]
async fn get_user(id: Rc<u64>) -> u64 {
    *id
}

fn main() {}
