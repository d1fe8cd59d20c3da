//! Updates that are dropped, fail or panic.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use cache_runtime::Cache;
use cache_tests::{LIMIT, RedisServer, until};
use tokio::task::JoinSet;

use super::restored::ROWS;
use crate::figure::Figure;
use crate::rows::{Ends, Row, Rows, cache};
use crate::suite::Size;

pub(crate) const STALE: &str = "stale rows";

/// How long a commit goes on in the database after its update has been dropped.
const COMMIT: Duration = Duration::from_millis(60);
/// How long after an update of unknown outcome its names are invalidated again.
const SETTLE: Duration = Duration::from_millis(400);

/// Drops updates at each of their await points. Commits take no time.
pub(crate) async fn dropped(_size: Size) -> Vec<Figure> {
    scenario(Duration::ZERO, |row| (Ends::Well, row % 8 + 1)).await
}

/// The same, with commits that go on in the database.
pub(crate) async fn dropped_committing(_size: Size) -> Vec<Figure> {
    scenario(COMMIT, |row| (Ends::Well, row % 8 + 1)).await
}

pub(crate) async fn fails_committing(_size: Size) -> Vec<Figure> {
    scenario(COMMIT, |_| (Ends::Err, u32::MAX)).await
}

pub(crate) async fn panics_committing(_size: Size) -> Vec<Figure> {
    scenario(COMMIT, |_| (Ends::Panic, u32::MAX)).await
}

/// `fate` says for each row how its update ends, and after how many polls it is dropped.
async fn scenario(commit_takes: Duration, fate: fn(u32) -> (Ends, u32)) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let server = RedisServer::start();
    let rows = Rows::new(settling(&server.url()), folder.path());
    rows.warm(0..ROWS).await;
    let mut updates = JoinSet::new();
    for row in 0..ROWS {
        let rows = rows.clone();
        updates.spawn(async move {
            let (ends, polls) = fate(row);
            {
                let update = rows.update_slowly(Row(row), commit_takes, ends);
                up_to(polls, update).await;
            }
            // A read now may see the row from before the commit, and cache it.
            for _ in 0..5 {
                rows.read(row).await;
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
        });
        // A few at a time: more would only wait for each other's requests.
        if updates.len() > 20 {
            updates.join_next().await;
        }
    }
    updates.join_all().await;
    tokio::time::sleep(COMMIT).await;
    // Each commit has happened. The second invalidations come `SETTLE` after their updates.
    until(async || rows.cache.health().waiting == 0).await;
    rows.cache.flush(LIMIT).await.expect("the server answers");
    let changed = (0..ROWS).filter(|&row| rows.database.version(row) > 0);
    assert!(
        changed.count() > ROWS as usize / 2,
        "most updates have committed"
    );
    vec![
        Figure::none(STALE, rows.stuck(0..ROWS).await).of(ROWS.into()),
        Figure::broken(rows.tally().broken()),
    ]
}

fn settling(url: &str) -> Cache {
    cache(url).settle(SETTLE).build().expect("a cache")
}

/// Polls a future at most this many times, and then drops it. A panic ends it too.
async fn up_to<T>(polls: u32, future: impl Future<Output = T>) {
    let mut future = pin!(future);
    let mut so_far = 0;
    poll_fn(|context| {
        let poll = || future.as_mut().poll(context).is_pending();
        match std::panic::catch_unwind(AssertUnwindSafe(poll)) {
            Ok(true) => {
                so_far += 1;
                if so_far < polls {
                    Poll::Pending
                } else {
                    Poll::Ready(())
                }
            }
            Ok(false) | Err(_) => Poll::Ready(()),
        }
    })
    .await;
}
