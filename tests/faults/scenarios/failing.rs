//! Many callers of a load that fails.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cache_runtime::{Cache, CacheBuilder, Event, cached};
use cache_tests::RedisServer;
use tokio::task::JoinSet;

use super::outage::CALL;
use crate::figure::Figure;
use crate::rows::cache;
use crate::suite::Size;

pub(crate) const SECOND_WAVE: &str = "loads at once after the first, in process";
pub(crate) const SECOND_WAVE_ON_THE_SERVER: &str = "loads at once after the first, on the server";
const LAST_ERROR: &str = "the last error, in process";
const LAST_ERROR_ON_THE_SERVER: &str = "the last error, on the server";

pub(crate) const LOADS: &str = "loads, in process";
pub(crate) const LOADS_ON_THE_SERVER: &str = "loads, on the server";

const CALLERS: usize = 1_000;
const LOAD: Duration = Duration::from_millis(200);
/// How many loads the callers begin after the first load has failed.
const WAVE: u64 = 8;
/// Each caller has its error after so many loads, one after the other.
const LOADS_TO_AN_ERROR: u32 = 4;

/// An error that cannot be cloned.
#[derive(Debug)]
struct Unreadable;

#[derive(Debug, Clone)]
struct UnreadableForAll;

/// A row whose first loads fail.
struct Failing {
    cache: Cache,
    failures: usize,
    /// How many callers wait for another caller's load.
    waiting: Arc<AtomicUsize>,
    /// When each load began.
    loads: Mutex<Vec<Instant>>,
}

impl Failing {
    fn new(builder: CacheBuilder, failures: usize) -> Arc<Self> {
        let waiting = Arc::new(AtomicUsize::new(0));
        let count = waiting.clone();
        let builder = builder.on_event(move |event| {
            if let Event::Wait { .. } = event {
                count.fetch_add(1, SeqCst);
            }
        });
        Arc::new(Self {
            cache: builder.build().expect("a cache"),
            failures,
            waiting,
            loads: Mutex::default(),
        })
    }

    #[cached(key = "row", ttl = 60, cache = self.cache)]
    async fn find(&self) -> Result<u64, Unreadable> {
        self.load().await.ok_or(Unreadable)
    }

    #[cached(key = "row", ttl = 60, cache = self.cache)]
    async fn find_or_fail_for_all(&self) -> Result<u64, UnreadableForAll> {
        self.load().await.ok_or(UnreadableForAll)
    }

    async fn load(&self) -> Option<u64> {
        // The first load takes as long as the others once all other callers wait for it.
        while self.waiting.load(SeqCst) < CALLERS - 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let nth = {
            let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
            loads.push(Instant::now());
            loads.len()
        };
        tokio::time::sleep(LOAD).await;
        (nth > self.failures).then_some(7)
    }

    /// All callers at once. Returns when the last of them had its answer.
    async fn call_all(self: &Arc<Self>, is_shared: bool) -> Instant {
        let mut calls = JoinSet::new();
        for _ in 0..CALLERS {
            let row = self.clone();
            calls.spawn(async move {
                // In each case the error is its caller's.
                if is_shared {
                    row.find_or_fail_for_all().await.is_err()
                } else {
                    row.find().await.is_err()
                }
            });
        }
        calls.join_all().await;
        Instant::now()
    }

    fn loads(&self) -> Vec<Instant> {
        self.loads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// All loads fail.
pub(crate) async fn all_fail(_size: Size) -> Vec<Figure> {
    let server = RedisServer::start();
    let (here, there) = tokio::join!(waves(cache("memory:")), waves(cache(&server.url())));
    let promise = LOAD * LOADS_TO_AN_ERROR + CALL;
    vec![
        Figure::at_most(SECOND_WAVE, here.0, WAVE),
        Figure::at_most(SECOND_WAVE_ON_THE_SERVER, there.0, WAVE),
        Figure::within(LAST_ERROR, here.1, promise),
        Figure::within(LAST_ERROR_ON_THE_SERVER, there.1, promise),
    ]
}

/// How many loads were under way at once after the first one, and how long after the begin of that
/// one the last caller had its error.
async fn waves(builder: CacheBuilder) -> (u64, Duration) {
    let row = Failing::new(builder, usize::MAX);
    let ended = row.call_all(false).await;
    let loads = row.loads();
    // No load of the third wave begins before one of the second has ended.
    let second_ends = loads[1] + LOAD;
    let second = loads[1..].iter().filter(|load| **load < second_ends);
    (second.count() as u64, ended - loads[0])
}

/// The first load fails, and the next ones do not.
pub(crate) async fn first_fails(_size: Size) -> Vec<Figure> {
    loads_of(false, 1, 1 + WAVE).await
}

/// All loads fail, with an error that all callers can have.
pub(crate) async fn error_for_all(_size: Size) -> Vec<Figure> {
    loads_of(true, usize::MAX, 1).await
}

async fn loads_of(is_shared: bool, failures: usize, promise: u64) -> Vec<Figure> {
    let server = RedisServer::start();
    let loads = async |builder: CacheBuilder| {
        let row = Failing::new(builder, failures);
        row.call_all(is_shared).await;
        row.loads().len() as u64
    };
    let (here, there) = tokio::join!(loads(cache("memory:")), loads(cache(&server.url())));
    vec![
        Figure::at_most(LOADS, here, promise),
        Figure::at_most(LOADS_ON_THE_SERVER, there, promise),
    ]
}
