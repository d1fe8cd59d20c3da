//! Upstash's HTTP interface, whose replicas lag.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use cache_tests::Upstash;

use super::mixed::stale_reads;
use crate::figure::Figure;
use crate::rows::{Mix, Rows, patient};
use crate::suite::Size;

/// For how long a replica shows one state.
const LAG: Duration = Duration::from_millis(50);

/// Readers and writers of one process: only there no read is stale.
pub(crate) async fn lagging_replicas(size: Size) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let emulator = Arc::new(Upstash::start());
    let latency = Duration::from_millis(6);
    let rows = Rows::with(patient(&emulator.url()), folder.path(), latency, 0);
    let is_over = Arc::new(AtomicBool::new(false));
    let replica = thread::spawn({
        let (emulator, is_over) = (emulator.clone(), is_over.clone());
        move || {
            while !is_over.load(SeqCst) {
                emulator.lag();
                thread::sleep(LAG);
            }
        }
    });
    let mix = Mix {
        rows: 4,
        apart: 1,
        readers: 16,
        writers: 0..2,
        all_writers: 2,
        lasts: size.pick(Duration::from_secs(12), Duration::from_secs(6)),
    };
    rows.mix(mix).await;
    is_over.store(true, SeqCst);
    replica.join().expect("the replica lags");
    let mut figures = stale_reads(rows.tally());
    figures.push(Figure::none("stale for good", rows.stuck(0..4).await).of(4));
    figures
}
