//! Old values in the API by hand, where the options of a call ask for them.

use std::cell::Cell;
use std::future::{Future, ready};
use std::time::Duration;

use cache_runtime::{Cache, Options};

use super::{Recorded, on_every_backend};

on_every_backend! {
    past_its_ttl_an_entry_is_refreshed_by_the_caller_that_gets_the_new_value
    an_entry_past_its_ttl_takes_the_place_of_any_error
    without_an_option_an_error_is_returned
    an_invalidated_entry_takes_the_place_of_no_error
    what_was_set_by_hand_is_kept_past_its_ttl
    a_load_that_failed_is_not_tried_again_for_a_while
}

const HOUR: Duration = Duration::from_secs(3600);

type Read = Result<u64, &'static str>;

fn load(read: Read) -> impl Future<Output = Read> {
    ready(read)
}

fn revalidated() -> Options {
    Options::new().tag("rows").stale_while_revalidate(HOUR)
}

fn kept_for_errors() -> Options {
    Options::new().tag("rows").stale_if_error(HOUR)
}

async fn past_its_ttl_an_entry_is_refreshed_by_the_caller_that_gets_the_new_value(
    recorded: Recorded,
) {
    let Recorded { cache, events } = recorded;
    let call = |value| cache.get_or_load("row", revalidated(), load(Ok(value)));
    assert_eq!(call(1).await, Ok(1));
    cache.expire(["row"]).await.unwrap();
    // A call without the option is not served what is past its ttl, and loads.
    assert_eq!(cache.get::<u64>("row").await.unwrap(), None);
    events.take();
    assert_eq!(call(2).await, Ok(2));
    let refreshed = events.take();
    assert!(
        refreshed.iter().any(|event| event.starts_with("refresh")),
        "{refreshed:?}"
    );
    assert_eq!(call(3).await, Ok(2));
}

async fn an_entry_past_its_ttl_takes_the_place_of_any_error(cache: Cache) {
    let call = |read| cache.get_or_load("row", kept_for_errors(), load(read));
    assert_eq!(call(Ok(1)).await, Ok(1));
    cache.expire(["row"]).await.unwrap();
    assert_eq!(call(Err("out of order")).await, Ok(1));
    assert_eq!(cache.stats().stale, 1);
}

async fn without_an_option_an_error_is_returned(cache: Cache) {
    let call = |options, read| cache.get_or_load("row", options, load(read));
    assert_eq!(call(kept_for_errors(), Ok(1)).await, Ok(1));
    cache.expire(["row"]).await.unwrap();
    // It is served while it is refreshed, and a refresh that fails changes nothing.
    assert_eq!(call(revalidated(), Err("out of order")).await, Ok(1));
    let plain = Options::new().tag("rows");
    assert_eq!(call(plain, Err("out of order")).await, Err("out of order"));
}

async fn an_invalidated_entry_takes_the_place_of_no_error(cache: Cache) {
    for name in ["row", "rows"] {
        let call = |read| cache.get_or_load("row", kept_for_errors(), load(read));
        assert_eq!(call(Ok(1)).await, Ok(1));
        cache.expire(["row"]).await.unwrap();
        cache.invalidate([name]).await.unwrap();
        assert_eq!(
            call(Err("out of order")).await,
            Err("out of order"),
            "{name}"
        );
    }
}

async fn what_was_set_by_hand_is_kept_past_its_ttl(cache: Cache) {
    let call = |read| cache.get_or_load("row", kept_for_errors(), load(read));
    cache.set("row", &1_u64, kept_for_errors()).await.unwrap();
    cache.expire(["row"]).await.unwrap();
    assert_eq!(call(Err("out of order")).await, Ok(1));
    cache
        .set_many([("row", &2_u64)], kept_for_errors())
        .await
        .unwrap();
    cache.expire(["row"]).await.unwrap();
    assert_eq!(call(Err("out of order")).await, Ok(2));
    // Without the option, nothing is left of it.
    cache.set("row", &3_u64, Options::new()).await.unwrap();
    cache.expire(["row"]).await.unwrap();
    assert_eq!(call(Err("out of order")).await, Err("out of order"));
}

async fn a_load_that_failed_is_not_tried_again_for_a_while(cache: Cache) {
    let loads = Cell::new(0);
    let loads = &loads;
    let call = |read: Read| {
        let load = async move {
            loads.set(loads.get() + 1);
            read
        };
        let options = kept_for_errors().retry_after(HOUR);
        cache.get_or_load("row", options, load)
    };
    assert_eq!(call(Ok(1)).await, Ok(1));
    cache.expire(["row"]).await.unwrap();
    for _ in 0..5 {
        assert_eq!(call(Err("out of order")).await, Ok(1));
    }
    assert_eq!(loads.get(), 2);
    // What is set meanwhile is served.
    cache.set("row", &2_u64, kept_for_errors()).await.unwrap();
    assert_eq!(call(Err("out of order")).await, Ok(2));
}
