//! Sentinels promote a replica while two processes read and update.

use std::time::{Duration, Instant};

use cache_tests::{Sentinels, until_blocking};
use tokio::task::spawn_blocking;

use super::lost_data::hits_again;
use super::mixed::stale_reads;
use super::outage::{CALL, LONGEST};
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
    let mut set = Sentinels::builder().down_after(soon).start();
    set.until_ready();
    let rows = Rows::new(cache(&set.url()).build().expect("a cache"), folder.path());
    let mut peer = Peer::start(&set.url(), folder.path());
    rows.warm(0..ROWS).await;
    let mix = |writers| Mix {
        rows: ROWS,
        apart: 1,
        readers: 8,
        writers,
        all_writers: 2,
        lasts: Duration::from_secs(15),
    };
    peer.tell(&Order::Mix(mix(1..2)));
    let mixing = tokio::spawn({
        let rows = rows.clone();
        async move { rows.mix(mix(0..1)).await }
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
    let tally = rows.tally().and(peer.tally());
    let mut figures = if fault == Fault::CutOffFromSentinels {
        // Until both have left the old primary, each may read what the other has replaced.
        vec![Figure::broken(tally.broken())]
    } else {
        stale_reads(tally)
    };
    figures.push(Figure::none(STUCK, rows.stuck(0..ROWS).await).of(ROWS.into()));
    figures.push(Figure::within(LONGEST, tally.longest, CALL));
    figures.push(Figure::within(LEFT, used, USED_WITHIN).without_slack());
    if fault != Fault::CutOffFromSentinels {
        let again = used + again;
        figures.push(Figure::within(HITS_AGAIN, again, USED_WITHIN).without_slack());
    }
    figures
}
