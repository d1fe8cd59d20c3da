use std::rc::Rc;

use cache_runtime::cached;

#[cached(key = "user:<id>")]
fn get_user(id: Rc<u64>) -> impl Future<Output = u64> + Send {
    async move { *id }
}

fn main() {}
