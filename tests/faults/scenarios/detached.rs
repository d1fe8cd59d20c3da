//! Callers that give up before the load ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use cache_runtime::{Cache, cached};
use cache_tests::RedisServer;
use tokio::task::JoinSet;

use crate::figure::Figure;
use crate::rows::cache;
use crate::suite::Size;

pub(crate) const LOADS: &str = "loads, in process";
pub(crate) const LOADS_ON_THE_SERVER: &str = "loads, on the server";
pub(crate) const UNSERVED: &str = "later callers without an answer, in process";
pub(crate) const UNSERVED_ON_THE_SERVER: &str = "later callers without an answer, on the server";

const LOAD: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_millis(200);
const APART: Duration = Duration::from_millis(20);

#[derive(Clone)]
struct Slow {
    cache: Cache,
    loads: Arc<AtomicU64>,
}

impl Slow {
    #[cached(key = "row", ttl = 60, detach, cache = self.cache)]
    async fn find(&self) -> u64 {
        self.loads.fetch_add(1, SeqCst);
        tokio::time::sleep(LOAD).await;
        7
    }
}

/// One caller comes after the other, and each gives up before its load could end.
pub(crate) async fn callers_give_up(size: Size) -> Vec<Figure> {
    let callers = size.pick(100, 40);
    let server = RedisServer::start();
    let (here, there) = tokio::join!(
        give_up(cache("memory:").build().expect("a cache"), callers),
        give_up(cache(&server.url()).build().expect("a cache"), callers)
    );
    vec![
        Figure::at_most(LOADS, here.loads, 1),
        Figure::at_most(LOADS_ON_THE_SERVER, there.loads, 1),
        Figure::at_most(UNSERVED, here.unserved, 0),
        Figure::at_most(UNSERVED_ON_THE_SERVER, there.unserved, 0),
    ]
}

struct Served {
    loads: u64,
    /// How many callers had no answer that came once the load could have ended.
    unserved: u64,
}

async fn give_up(cache: Cache, callers: u32) -> Served {
    let slow = Slow {
        cache,
        loads: Arc::default(),
    };
    let began = Instant::now();
    let mut calls = JoinSet::new();
    for nth in 0..callers {
        let slow = slow.clone();
        calls.spawn(async move {
            tokio::time::sleep(APART * nth).await;
            let is_late = began.elapsed() > LOAD;
            let answer = tokio::time::timeout(PATIENCE, slow.find()).await;
            u64::from(is_late && answer.is_err())
        });
    }
    Served {
        unserved: calls.join_all().await.into_iter().sum(),
        loads: slow.loads.load(SeqCst),
    }
}
