//! `on_err`: after an error that rules a commit out, nothing is invalidated.

use std::future::pending;
use std::pin::pin;

use cache_runtime::{Cache, Options, after_commit, cache_invalidate};
use cache_tests::poll_once;

use super::{Recorded, on_every_backend};

on_every_backend! {
    an_error_that_rules_a_commit_out_invalidates_nothing
    any_other_error_invalidates_and_repeats
    a_success_invalidates_the_names_of_the_result_too
    an_update_that_is_dropped_invalidates_whatever_on_err_says
    an_error_that_rules_a_commit_out_leaves_the_fence
    another_error_lets_the_fence_stand
    a_condition_that_is_false_does_not_ask_about_the_error
    a_panic_of_the_question_invalidates
    a_scope_holds_nothing_after_an_error_that_rules_a_commit_out
}

#[derive(Debug, PartialEq)]
enum Failure {
    NotFound,
    Timeout,
    /// The question about this one panics.
    Unknown,
}

impl Failure {
    fn may_have_committed(&self) -> bool {
        assert_ne!(*self, Self::Unknown, "asked about");
        *self != Self::NotFound
    }
}

/// `Result` is not in the signature's text.
type Updated = Result<u64, Failure>;

#[cache_invalidate("row:<id>", "value:<result>", on_err = |error| *error != Failure::NotFound, cache = cache)]
async fn update(cache: &Cache, id: u64, outcome: Updated) -> Updated {
    if id == 0 {
        pending::<()>().await;
    }
    outcome
}

#[cache_invalidate(
    "row:<id>",
    fence = "600s",
    on_err = Failure::may_have_committed,
    condition = id < 10,
    cache = cache,
)]
async fn update_fenced(cache: &Cache, id: u64, outcome: Updated) -> Updated {
    outcome
}

/// Caches what the updates name, and forgets the events so far.
async fn fill(Recorded { cache, events }: &Recorded) {
    for key in ["row:0", "row:1", "row:10", "value:7"] {
        cache.set(key, &1, Options::new()).await.unwrap();
    }
    events.take();
}

/// How many names wait for their second invalidation.
fn waiting(cache: &Cache) -> usize {
    cache.health().waiting
}

async fn an_error_that_rules_a_commit_out_invalidates_nothing(recorded: Recorded) {
    fill(&recorded).await;
    let Recorded { cache, events } = recorded;
    let updated = update(&cache, 1, Err(Failure::NotFound)).await;
    assert_eq!(updated, Err(Failure::NotFound));
    assert!(events.take().is_empty());
    assert_eq!(waiting(&cache), 0);
    assert!(cache.exists("row:1").await.unwrap());
}

async fn any_other_error_invalidates_and_repeats(recorded: Recorded) {
    fill(&recorded).await;
    let Recorded { cache, events } = recorded;
    update(&cache, 1, Err(Failure::Timeout)).await.unwrap_err();
    assert_eq!(events.take(), ["invalidate row:1"]);
    assert_eq!(waiting(&cache), 1);
    assert!(!cache.exists("row:1").await.unwrap());
    assert!(cache.exists("value:7").await.unwrap());
}

async fn a_success_invalidates_the_names_of_the_result_too(recorded: Recorded) {
    fill(&recorded).await;
    let Recorded { cache, events } = recorded;
    update(&cache, 1, Ok(7)).await.unwrap();
    assert_eq!(events.take(), ["invalidate row:1 value:7"]);
    assert_eq!(waiting(&cache), 0);
}

async fn an_update_that_is_dropped_invalidates_whatever_on_err_says(recorded: Recorded) {
    fill(&recorded).await;
    let cache = recorded.cache;
    {
        let dropped_half_way = pin!(update(&cache, 0, Err(Failure::NotFound)));
        assert!(poll_once(dropped_half_way).is_pending());
    }
    cache_tests::until(async || !cache.exists("row:0").await.unwrap()).await;
    assert_eq!(waiting(&cache), 1);
}

async fn an_error_that_rules_a_commit_out_leaves_the_fence(recorded: Recorded) {
    fill(&recorded).await;
    let Recorded { cache, events } = recorded;
    let updated = update_fenced(&cache, 1, Err(Failure::NotFound)).await;
    updated.unwrap_err();
    assert_eq!(events.take(), ["fence row:1", "unfence row:1"]);
    assert_eq!(waiting(&cache), 0);
    cache.set("row:1", &1, Options::new()).await.unwrap();
    assert!(cache.exists("row:1").await.unwrap());
}

async fn another_error_lets_the_fence_stand(recorded: Recorded) {
    fill(&recorded).await;
    let Recorded { cache, events } = recorded;
    update_fenced(&cache, 1, Err(Failure::Timeout))
        .await
        .unwrap_err();
    assert_eq!(events.take(), ["fence row:1", "invalidate row:1"]);
    cache.set("row:1", &1, Options::new()).await.unwrap();
    assert!(!cache.exists("row:1").await.unwrap());
}

async fn a_condition_that_is_false_does_not_ask_about_the_error(recorded: Recorded) {
    fill(&recorded).await;
    let Recorded { cache, events } = recorded;
    let updated = update_fenced(&cache, 10, Err(Failure::Unknown)).await;
    assert_eq!(updated, Err(Failure::Unknown));
    assert!(events.take().is_empty());
    assert!(cache.exists("row:10").await.unwrap());
}

async fn a_panic_of_the_question_invalidates(recorded: Recorded) {
    fill(&recorded).await;
    let cache = recorded.cache;
    let of_task = cache.clone();
    let update = async move { update_fenced(&of_task, 1, Err(Failure::Unknown)).await };
    assert!(tokio::spawn(update).await.unwrap_err().is_panic());
    cache_tests::until(async || !cache.exists("row:1").await.unwrap()).await;
    assert_eq!(waiting(&cache), 1);
}

async fn a_scope_holds_nothing_after_an_error_that_rules_a_commit_out(recorded: Recorded) {
    fill(&recorded).await;
    let Recorded { cache, events } = recorded;
    after_commit(async {
        update(&cache, 1, Err(Failure::NotFound)).await.unwrap_err();
        Ok::<_, ()>(())
    })
    .await
    .unwrap();
    assert!(events.take().is_empty());
    assert!(cache.exists("row:1").await.unwrap());
    assert_eq!(waiting(&cache), 0);
}
