//! Functions that are given a transaction, within `after_commit` and outside of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use cache_runtime::{Cache, Transaction, after_commit, cache_invalidate, cached};

use crate::behaviour::{Recorded, on_every_backend};

on_every_backend! {
    an_update_outside_of_a_scope_is_reported_once_a_function_and_repeated
    an_update_within_a_scope_is_not_reported
    a_fence_around_an_update_outside_of_a_scope_stands_until_its_deadline
    a_read_outside_of_a_scope_is_neither_answered_nor_stored
    a_read_within_a_scope_is_not_reported
    a_receiver_that_is_a_transaction_is_found
    a_transaction_that_the_function_ends_is_not_reported
    an_update_that_is_not_wanted_is_not_reported
    returned_futures_ask_when_they_are_polled
}

/// A transaction of the program's own.
struct Work {
    cache: Cache,
    row: AtomicU64,
}

impl Transaction for Work {}

impl Work {
    fn new(cache: &Cache) -> Self {
        Self {
            cache: cache.clone(),
            row: AtomicU64::new(2),
        }
    }

    #[cache_invalidate("row", cache = self.cache)]
    async fn change(&self, row: u64) {
        self.row.store(row, SeqCst);
    }
}

/// What is committed.
#[cached(key = "row", ttl = 60, cache = cache, skip(cache))]
async fn read(cache: &Cache) -> u64 {
    1
}

#[cached(key = "row", ttl = 60, cache = cache, skip(cache, work))]
async fn read_within(cache: &Cache, work: &mut Work) -> u64 {
    work.row.load(SeqCst)
}

#[cached(key = "row", ttl = 60, cache = cache, skip(cache, work))]
fn read_later(cache: &Cache, work: &Work) -> impl Future<Output = u64> {
    let row = work.row.load(SeqCst);
    async move { row }
}

#[cache_invalidate("row", cache = cache)]
async fn write(cache: &Cache, work: &mut Work) {
    work.row.store(3, SeqCst);
}

/// What it returns decides about it.
#[cache_invalidate("<result>", condition = *wanted, cache = cache)]
async fn write_another(cache: &Cache, work: &Arc<Work>, wanted: &bool) -> u64 {
    work.row.load(SeqCst)
}

#[cache_invalidate("row", fence = "10m", cache = cache)]
async fn write_behind_a_fence(cache: &Cache, work: &mut Work) {
    work.row.store(3, SeqCst);
}

#[cache_invalidate("row", cache = cache)]
async fn commit(cache: &Cache, work: Work) -> u64 {
    work.row.into_inner()
}

#[cache_invalidate("row", cache = cache)]
async fn pass_on(cache: &Cache, work: Work) -> Result<(u64, Work), ()> {
    Ok((1, work))
}

fn report_of(function: &str) -> String {
    format!("outside of commit {}::{function}", module_path!())
}

async fn an_update_outside_of_a_scope_is_reported_once_a_function_and_repeated(
    Recorded { cache, events }: Recorded,
) {
    let mut work = Work::new(&cache);
    for _ in 0..3 {
        write(&cache, &mut work).await;
    }
    assert_eq!(cache.health().waiting, 1, "for the commit");
    let mut expected = vec![report_of("write")];
    expected.extend(["invalidate row"; 3].map(str::to_owned));
    assert_eq!(events.take(), expected);
    write_another(&cache, &Arc::new(work), &true).await;
    assert_eq!(cache.health().waiting, 2);
    assert_eq!(
        events.take(),
        [report_of("write_another"), "invalidate 3".to_owned()]
    );
}

async fn an_update_within_a_scope_is_not_reported(Recorded { cache, events }: Recorded) {
    let mut work = Work::new(&cache);
    let scope = after_commit(async {
        write(&cache, &mut work).await;
        Ok::<_, ()>(())
    });
    scope.await.unwrap();
    assert_eq!(events.take(), ["invalidate row"]);
    assert_eq!(cache.health().waiting, 0);
}

async fn a_fence_around_an_update_outside_of_a_scope_stands_until_its_deadline(
    Recorded { cache, events }: Recorded,
) {
    write_behind_a_fence(&cache, &mut Work::new(&cache)).await;
    let report = report_of("write_behind_a_fence");
    assert_eq!(events.take(), ["fence row", &report, "invalidate row"]);
    read(&cache).await;
    assert!(!cache.exists("row").await.unwrap());
}

async fn a_read_outside_of_a_scope_is_neither_answered_nor_stored(
    Recorded { cache, events }: Recorded,
) {
    let uncommitted = ["miss row", "load row", "not filled row: uncommitted"];
    let mut work = Work::new(&cache);
    assert_eq!(read_within(&cache, &mut work).await, 2);
    let mut expected = vec![report_of("read_within")];
    expected.extend(uncommitted.map(str::to_owned));
    assert_eq!(events.take(), expected);
    assert_eq!(read(&cache).await, 1);
    events.take();
    assert_eq!(read_within(&cache, &mut work).await, 2);
    assert_eq!(events.take(), uncommitted);
    assert_eq!(read(&cache).await, 1);
    assert_eq!(events.take(), ["hit row"]);
}

async fn a_read_within_a_scope_is_not_reported(Recorded { cache, events }: Recorded) {
    let mut work = Work::new(&cache);
    let scope = after_commit(async { Ok::<_, ()>(read_within(&cache, &mut work).await) });
    assert_eq!(scope.await, Ok(2));
    let uncommitted = ["miss row", "load row", "not filled row: uncommitted"];
    assert_eq!(events.take(), uncommitted);
}

async fn a_receiver_that_is_a_transaction_is_found(Recorded { cache, events }: Recorded) {
    Work::new(&cache).change(5).await;
    let report = format!("outside of commit {}::change", module_path!());
    assert_eq!(events.take(), [report, "invalidate row".to_owned()]);
}

async fn a_transaction_that_the_function_ends_is_not_reported(
    Recorded { cache, events }: Recorded,
) {
    assert_eq!(commit(&cache, Work::new(&cache)).await, 2);
    assert_eq!(events.take(), ["invalidate row"]);
    assert_eq!(cache.health().waiting, 0);
    pass_on(&cache, Work::new(&cache)).await.unwrap();
    assert_eq!(
        events.take(),
        [report_of("pass_on"), "invalidate row".to_owned()]
    );
    assert_eq!(cache.health().waiting, 1);
}

async fn an_update_that_is_not_wanted_is_not_reported(Recorded { cache, events }: Recorded) {
    write_another(&cache, &Arc::new(Work::new(&cache)), &false).await;
    assert!(events.take().is_empty());
}

async fn returned_futures_ask_when_they_are_polled(Recorded { cache, events }: Recorded) {
    let work = Work::new(&cache);
    let read = read_later(&cache, &work);
    let scope = after_commit(async { Ok::<_, ()>(read.await) });
    assert_eq!(scope.await, Ok(2));
    assert!(!events.take().contains(&report_of("read_later")));
    assert_eq!(read_later(&cache, &work).await, 2);
    assert!(events.take().contains(&report_of("read_later")));
}
