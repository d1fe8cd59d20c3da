//! Random reads and changes from several tasks: each cached read is compared with the database.
//!
//! `TRACKER_SEED=7 cargo test -p cache-examples --example tracker` runs another sequence.

mod changes;
mod http;
mod mistakes;
mod reads;
mod run;
mod work;

use std::time::Duration;

use cache_runtime::Cache;
use cache_tests::RedisServer;

use self::mistakes::Mistake;
use self::run::Run;

/// An invalidation of unknown outcome is repeated after this time, or when the test flushes the
/// cache. The test always flushes first, so it does not depend on how long a commit takes.
const SETTLE: Duration = Duration::from_mins(10);

fn in_process() -> Vec<Cache> {
    vec![cache("memory:")]
}

fn cache(url: &str) -> Cache {
    Cache::builder().url(url).settle(SETTLE).build().unwrap()
}

#[test]
fn annotations_have_no_contradictions() {
    cache_runtime::registry::check().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_in_the_process_answers_as_the_database_does() {
    let run = Run::new(in_process()).await;
    run.work().await;
    run.assert_no_difference();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_caches_on_a_server_answer_as_the_database_does() {
    let server = RedisServer::start();
    let caches = vec![cache(&server.url()), cache(&server.url())];
    let run = Run::new(caches).await;
    run.work().await;
    run.assert_no_difference();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mistake_is_noticed() {
    for mistake in Mistake::ALL {
        let run = Run::new(in_process()).await.with(mistake);
        run.work_until_noticed().await;
        run.assert_noticed();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_name_is_needed() {
    let run = Run::new(in_process()).await;
    let run = run.with(Mistake::LeavesOut("no kind".to_owned()));
    run.change_and_compare(200).await;
    run.assert_no_difference();
    let kinds = run.kinds_of_names();
    assert!(kinds.len() > 10, "{kinds:?}");
    for kind in kinds {
        let run = Run::new(in_process()).await.with(Mistake::LeavesOut(kind));
        run.work_until_noticed().await;
        run.assert_noticed();
    }
}
