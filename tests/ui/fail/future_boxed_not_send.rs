use std::pin::Pin;
use std::rc::Rc;

use cache_runtime::cached;

#[cached(key = "user:<id>")]
fn get_user(id: Rc<u64>) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    Box::pin(async move { *id })
}

fn main() {}
