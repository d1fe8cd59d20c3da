use cache_runtime::{cached, key_name};

#[key_name("event")]
struct Meeting;

#[key_name("event")]
struct Message;

#[cached(key = "last:<T>")]
async fn last<T>() -> Option<u64> {
    Some(1)
}
