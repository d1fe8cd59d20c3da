//! Sentinels promote a replica while two processes read, and one of them updates.

use std::time::{Duration, Instant};

use cache_tests::{Sentinels, until_blocking};
use tokio::task::spawn_blocking;

use super::lost_data::hits_again;
use super::outage::{CALL, LONGEST, STALE_HERE};
use crate::figure::Figure;
use crate::peer::{Order, Peer};
use crate::rows::{Mix, Rows, cache};
use crate::suite::Size;

pub(crate) const STUCK: &str = "stale for good";
pub(crate) const HITS_AGAIN: &str = "hits again after the promotion";
pub(crate) const LEFT: &str = "the new primary is used after its promotion";

/// How soon after its promotion a new primary is used.
const USED_WITHIN: Duration = Duration::from_secs(1);

const ROWS: u32 = 40;

/// What happens to the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Killed,
    /// And it goes on a second after the promotion.
    Frozen,
    /// It goes on to answer the processes, and takes their writes.
    CutOffFromSentinels,
}

pub(crate) async fn killed(_size: Size) -> Vec<Figure> {
    promoted(Fault::Killed).await
}

pub(crate) async fn frozen(_size: Size) -> Vec<Figure> {
    promoted(Fault::Frozen).await
}

pub(crate) async fn cut_off(_size: Size) -> Vec<Figure> {
    promoted(Fault::CutOffFromSentinels).await
}

async fn promoted(fault: Fault) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let soon = Duration::from_millis(500);
    // With a password, since a user that is turned off could else go on as the default one.
    let builder = Sentinels::builder().password("secret").down_after(soon);
    let mut set = builder.start();
    set.until_ready();
    let rows = Rows::new(cache(&set.url()).build().expect("a cache"), folder.path());
    let mut peer = Peer::start(&set.url(), folder.path());
    rows.warm(0..ROWS).await;
    let mix = |writers| Mix {
        rows: ROWS,
        apart: 1,
        readers: 4,
        writers,
        all_writers: 2,
        lasts: Duration::from_secs(15),
    };
    peer.tell(&Order::Mix(mix(0..0)));
    let mixing = tokio::spawn({
        let rows = rows.clone();
        async move { rows.mix(mix(0..2)).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (set, used) = spawn_blocking(move || {
        match fault {
            Fault::Killed => set.servers_mut()[0].kill(),
            Fault::Frozen => set.servers()[0].freeze(),
            Fault::CutOffFromSentinels => set.cut_off_primary(),
        }
        let [_, new] = set.servers();
        until_blocking(|| set.name(new));
        let promoted = Instant::now();
        while new.calls("mget") == 0 && promoted.elapsed() < 3 * USED_WITHIN {
            std::thread::sleep(Duration::from_millis(1));
        }
        (set, promoted.elapsed())
    })
    .await
    .expect("no panic");
    let again = hits_again(&rows).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    if fault == Fault::Frozen {
        set.servers()[0].thaw();
    }
    mixing.await.expect("no panic");
    let ours = rows.tally();
    let tally = ours.and(peer.tally());
    assert!(ours.hits > 0, "an entry that is not served cannot be stale");
    let mut figures = vec![Figure::broken(tally.broken())];
    // The other process does not hear of what this one could not invalidate, until it can. Where the
    // primary still answers, the two may use different servers for a moment.
    if fault != Fault::CutOffFromSentinels {
        figures.push(Figure::none(STALE_HERE, ours.stale).of(ours.reads));
    }
    figures.push(Figure::none(STUCK, rows.stuck(0..ROWS).await).of(ROWS.into()));
    figures.push(Figure::within(LONGEST, tally.longest, CALL));
    figures.push(Figure::within(LEFT, used, USED_WITHIN).without_slack());
    if fault != Fault::CutOffFromSentinels {
        let again = used + again;
        figures.push(Figure::within(HITS_AGAIN, again, USED_WITHIN).without_slack());
    }
    figures
}
