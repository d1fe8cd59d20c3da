//! An update behind a fence: what is loaded meanwhile is not stored, whatever becomes of the
//! update, and of its process.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cache_runtime::{Cache, Options, cache_invalidate, cached};
use cache_tests::RedisServer;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::behaviour::{builder, on_both_tiers};
use crate::gated::LIMIT;

on_both_tiers! {
    behind_a_fence_reads_load_and_do_not_store
    a_tag_can_be_behind_a_fence
    an_entry_from_before_the_fence_is_gone
    a_load_that_began_before_the_fence_is_not_shared_with_those_who_come_after
    readers_behind_a_fence_share_a_load_that_has_not_begun
    the_last_of_two_writers_takes_the_fence_along
    after_an_error_the_fence_is_left_to_expire
    after_a_panic_the_fence_is_left_to_expire
    after_its_caller_gave_up_the_fence_is_left_to_expire
    a_fence_is_over_at_its_deadline_after_an_error
    an_invalidation_spares_the_fence
    set_stores_nothing_behind_a_fence
    set_with_a_tag_behind_a_fence_leaves_nothing
    clear_and_delete_spare_the_fence
    a_condition_that_is_false_places_no_fence
    a_fence_of_no_length_is_none
    a_name_of_the_result_is_invalidated_and_not_fenced
    a_required_fence_lets_the_body_run
}

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(300);

/// A document whose writers end when the test says so, and how it says.
#[derive(Debug)]
struct Doc {
    cache: Cache,
    fence: Duration,
    value: AtomicU64,
    loads: AtomicU64,
    load_may_end: Semaphore,
    load_began: Semaphore,
    written: Semaphore,
    writer_may_end: Semaphore,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Ok,
    Err,
    Panic,
}

#[derive(Debug)]
enum Refused {
    Cache(cache_runtime::Error),
    Asked,
}

impl From<cache_runtime::Error> for Refused {
    fn from(error: cache_runtime::Error) -> Self {
        Self::Cache(error)
    }
}

type Written = Result<u64, Refused>;

impl Doc {
    fn new(cache: Cache) -> Arc<Self> {
        Self::with_fence(cache, LONG)
    }

    fn with_fence(cache: Cache, fence: Duration) -> Arc<Self> {
        let doc = Self::gated(cache, fence);
        doc.load_may_end.add_permits(1_000_000);
        doc
    }

    fn gated(cache: Cache, fence: Duration) -> Arc<Self> {
        Arc::new(Self {
            cache,
            fence,
            value: AtomicU64::new(1),
            loads: AtomicU64::new(0),
            load_may_end: Semaphore::new(0),
            load_began: Semaphore::new(0),
            written: Semaphore::new(0),
            writer_may_end: Semaphore::new(0),
        })
    }

    #[cached(key = "doc", ttl = 60, invalidate_on = "docs", cache = self.cache)]
    async fn read(&self) -> u64 {
        let value = self.value.load(Ordering::SeqCst);
        self.loads.fetch_add(1, Ordering::SeqCst);
        self.load_began.add_permits(1);
        self.load_may_end.acquire().await.unwrap().forget();
        value
    }

    async fn body(&self, value: u64, end: End) -> Written {
        self.value.store(value, Ordering::SeqCst);
        self.written.add_permits(1);
        self.writer_may_end.acquire().await.unwrap().forget();
        match end {
            End::Ok => Ok(value),
            End::Err => Err(Refused::Asked),
            End::Panic => panic!("asked to"),
        }
    }

    #[cache_invalidate("doc", fence = self.fence, cache = self.cache)]
    async fn write(&self, value: u64, end: End) -> Written {
        self.body(value, end).await
    }

    #[cache_invalidate("docs", fence = self.fence, cache = self.cache)]
    async fn write_all(&self, value: u64, end: End) -> Written {
        self.body(value, end).await
    }

    #[cache_invalidate("doc", fence = self.fence, fence_required, cache = self.cache)]
    async fn write_safely(&self, value: u64, end: End) -> Written {
        self.body(value, end).await
    }

    #[cache_invalidate("other", "doc:<result>", fence = "10m", cache = self.cache)]
    async fn write_by_result(&self, value: u64, end: End) -> Written {
        self.body(value, end).await
    }

    #[cache_invalidate("doc", fence = "10m", condition = value > 5, cache = self.cache)]
    async fn write_if_more_than_5(&self, value: u64, end: End) -> Written {
        self.body(value, end).await
    }

    fn writer(self: &Arc<Self>, value: u64, end: End) -> JoinHandle<Written> {
        let doc = self.clone();
        tokio::spawn(async move { doc.write(value, end).await })
    }

    fn reader(self: &Arc<Self>) -> JoinHandle<u64> {
        let doc = self.clone();
        tokio::spawn(async move { doc.read().await })
    }

    /// Waits until one more body has written.
    async fn wrote(&self) {
        let written = tokio::time::timeout(LIMIT, self.written.acquire()).await;
        written.expect("a body that writes").unwrap().forget();
    }

    async fn load_began(&self) {
        let began = tokio::time::timeout(LIMIT, self.load_began.acquire()).await;
        began.expect("a load").unwrap().forget();
    }

    fn end_writer(&self) {
        self.writer_may_end.add_permits(1);
    }

    fn loads(&self) -> u64 {
        self.loads.load(Ordering::SeqCst)
    }

    /// What two reads get, and whether the first was stored for the second.
    async fn reads(&self) -> (u64, bool) {
        let first = self.read().await;
        let loads = self.loads();
        let second = self.read().await;
        assert_eq!(first, second);
        (first, self.loads() == loads)
    }

    async fn caches_again(&self) -> bool {
        let deadline = tokio::time::Instant::now() + LIMIT;
        while tokio::time::Instant::now() < deadline {
            if self.reads().await.1 {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }
}

const NOT_STORED: bool = false;
const STORED: bool = true;

async fn behind_a_fence_reads_load_and_do_not_store(cache: Cache) {
    let doc = Doc::new(cache);
    assert_eq!(doc.reads().await, (1, STORED));
    let writer = doc.writer(2, End::Ok);
    doc.wrote().await;
    assert_eq!(doc.reads().await, (2, NOT_STORED));
    doc.end_writer();
    assert_eq!(writer.await.unwrap().unwrap(), 2);
    assert_eq!(doc.reads().await, (2, STORED));
    assert_eq!(doc.cache.stats().errors, 0);
}

async fn a_tag_can_be_behind_a_fence(cache: Cache) {
    let doc = Doc::new(cache);
    assert_eq!(doc.reads().await, (1, STORED));
    let it = doc.clone();
    let writer = tokio::spawn(async move { it.write_all(2, End::Ok).await });
    doc.wrote().await;
    assert_eq!(doc.reads().await, (2, NOT_STORED));
    doc.end_writer();
    writer.await.unwrap().unwrap();
    assert_eq!(doc.reads().await, (2, STORED));
    assert_eq!(doc.cache.stats().errors, 0);
}

/// Before the body is done, nobody is served what it replaces.
async fn an_entry_from_before_the_fence_is_gone(cache: Cache) {
    let doc = Doc::new(cache);
    assert_eq!(doc.reads().await, (1, STORED));
    let writer = doc.writer(2, End::Ok);
    doc.wrote().await;
    assert!(!doc.cache.exists("doc").await.unwrap());
    assert_eq!(doc.cache.get::<u64>("doc").await.unwrap(), None);
    doc.end_writer();
    writer.await.unwrap().unwrap();
}

async fn a_load_that_began_before_the_fence_is_not_shared_with_those_who_come_after(cache: Cache) {
    let doc = Doc::gated(cache, LONG);
    let before = doc.reader();
    doc.load_began().await;
    let writer = doc.writer(2, End::Ok);
    doc.wrote().await;
    let after = doc.reader();
    // However long the next load waits for the one that runs, it is another one.
    doc.load_may_end.add_permits(1_000_000);
    assert_eq!(before.await.unwrap(), 1);
    assert_eq!(after.await.unwrap(), 2);
    doc.end_writer();
    writer.await.unwrap().unwrap();
    assert_eq!(doc.reads().await, (2, STORED));
}

async fn readers_behind_a_fence_share_a_load_that_has_not_begun(cache: Cache) {
    let doc = Doc::gated(cache, LONG);
    let writer = doc.writer(2, End::Ok);
    doc.wrote().await;
    let first = doc.reader();
    doc.load_began().await;
    // These wait for the first to end, and then share one.
    let others: Vec<_> = (0..50).map(|_| doc.reader()).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    doc.load_may_end.add_permits(1_000_000);
    assert_eq!(first.await.unwrap(), 2);
    for other in others {
        assert_eq!(other.await.unwrap(), 2);
    }
    assert!(doc.loads() < 10, "{} loads", doc.loads());
    doc.end_writer();
    writer.await.unwrap().unwrap();
}

async fn the_last_of_two_writers_takes_the_fence_along(cache: Cache) {
    let doc = Doc::new(cache);
    let one = doc.writer(2, End::Ok);
    doc.wrote().await;
    let two = doc.writer(3, End::Ok);
    doc.wrote().await;
    doc.end_writer();
    let mut writers = [Some(one), Some(two)];
    // Either may be the one that ends first.
    let first = loop {
        let ended = writers
            .iter()
            .position(|writer| writer.as_ref().unwrap().is_finished());
        if let Some(ended) = ended {
            break ended;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    writers[first].take().unwrap().await.unwrap().unwrap();
    assert_eq!(doc.reads().await, (3, NOT_STORED));
    doc.end_writer();
    writers[1 - first].take().unwrap().await.unwrap().unwrap();
    assert_eq!(doc.reads().await, (3, STORED));
}

async fn after_an_error_the_fence_is_left_to_expire(cache: Cache) {
    let doc = Doc::new(cache);
    doc.end_writer();
    assert!(matches!(doc.write(2, End::Err).await, Err(Refused::Asked)));
    assert_eq!(doc.reads().await, (2, NOT_STORED));
}

async fn after_a_panic_the_fence_is_left_to_expire(cache: Cache) {
    let doc = Doc::new(cache);
    doc.end_writer();
    assert!(doc.writer(2, End::Panic).await.is_err());
    assert_eq!(doc.reads().await, (2, NOT_STORED));
}

async fn after_its_caller_gave_up_the_fence_is_left_to_expire(cache: Cache) {
    let doc = Doc::new(cache);
    let writer = doc.writer(2, End::Ok);
    doc.wrote().await;
    writer.abort();
    assert!(writer.await.unwrap_err().is_cancelled());
    assert_eq!(doc.reads().await, (2, NOT_STORED));
}

async fn a_fence_is_over_at_its_deadline_after_an_error(cache: Cache) {
    let doc = Doc::with_fence(cache, SHORT);
    doc.end_writer();
    assert!(doc.write(2, End::Err).await.is_err());
    assert!(doc.caches_again().await);
    assert_eq!(doc.reads().await, (2, STORED));
}

async fn an_invalidation_spares_the_fence(cache: Cache) {
    let doc = Doc::new(cache);
    let writer = doc.writer(2, End::Ok);
    doc.wrote().await;
    let it = doc.clone();
    let tagged = tokio::spawn(async move { it.write_all(3, End::Ok).await });
    doc.wrote().await;
    doc.cache.invalidate(["doc", "docs"]).await.unwrap();
    assert_eq!(doc.reads().await, (3, NOT_STORED));
    doc.end_writer();
    doc.end_writer();
    writer.await.unwrap().unwrap();
    tagged.await.unwrap().unwrap();
    assert_eq!(doc.reads().await, (3, STORED));
}

async fn set_stores_nothing_behind_a_fence(cache: Cache) {
    let doc = Doc::new(cache);
    let writer = doc.writer(2, End::Ok);
    doc.wrote().await;
    doc.cache.set("doc", &1_u64, Options::new()).await.unwrap();
    assert_eq!(doc.reads().await, (2, NOT_STORED));
    doc.end_writer();
    writer.await.unwrap().unwrap();
    doc.cache.set("doc", &5_u64, Options::new()).await.unwrap();
    assert_eq!(doc.cache.get("doc").await.unwrap(), Some(5_u64));
}

/// Neither what is set nor what was there before: that is older still.
async fn set_with_a_tag_behind_a_fence_leaves_nothing(cache: Cache) {
    let doc = Doc::new(cache);
    doc.cache.set("page", &1, Options::new()).await.unwrap();
    let it = doc.clone();
    let writer = tokio::spawn(async move { it.write_all(2, End::Ok).await });
    doc.wrote().await;
    let options = || Options::new().tag("docs");
    doc.cache.set("page", &2, options()).await.unwrap();
    assert_eq!(doc.cache.get::<i32>("page").await.unwrap(), None);
    doc.end_writer();
    writer.await.unwrap().unwrap();
    doc.cache.set("page", &3, options()).await.unwrap();
    assert_eq!(doc.cache.get("page").await.unwrap(), Some(3));
    assert_eq!(doc.cache.stats().errors, 0);
}

async fn clear_and_delete_spare_the_fence(cache: Cache) {
    let doc = Doc::new(cache);
    doc.cache.set("another", &1, Options::new()).await.unwrap();
    let writer = doc.writer(2, End::Ok);
    doc.wrote().await;
    assert!(!doc.cache.delete("doc").await.unwrap());
    assert_eq!(doc.reads().await, (2, NOT_STORED));
    doc.cache.clear().await.unwrap();
    assert!(!doc.cache.exists("another").await.unwrap());
    assert_eq!(doc.reads().await, (2, NOT_STORED));
    doc.end_writer();
    writer.await.unwrap().unwrap();
    assert_eq!(doc.reads().await, (2, STORED));
}

async fn a_condition_that_is_false_places_no_fence(cache: Cache) {
    let doc = Doc::new(cache);
    let it = doc.clone();
    let writer = tokio::spawn(async move { it.write_if_more_than_5(2, End::Ok).await });
    doc.wrote().await;
    assert_eq!(doc.reads().await, (2, STORED));
    doc.end_writer();
    writer.await.unwrap().unwrap();
}

async fn a_fence_of_no_length_is_none(cache: Cache) {
    let doc = Doc::with_fence(cache, Duration::ZERO);
    let writer = doc.writer(2, End::Ok);
    doc.wrote().await;
    assert_eq!(doc.reads().await, (2, STORED));
    doc.end_writer();
    writer.await.unwrap().unwrap();
    assert!(!doc.cache.exists("doc").await.unwrap());
}

async fn a_name_of_the_result_is_invalidated_and_not_fenced(cache: Cache) {
    let doc = Doc::new(cache);
    let it = doc.clone();
    let writer = tokio::spawn(async move { it.write_by_result(2, End::Ok).await });
    doc.wrote().await;
    for name in ["other", "doc:2"] {
        doc.cache.set(name, &1, Options::new()).await.unwrap();
    }
    assert!(!doc.cache.exists("other").await.unwrap());
    assert!(doc.cache.exists("doc:2").await.unwrap());
    doc.end_writer();
    writer.await.unwrap().unwrap();
    assert!(!doc.cache.exists("doc:2").await.unwrap());
}

async fn a_required_fence_lets_the_body_run(cache: Cache) {
    let doc = Doc::new(cache);
    doc.end_writer();
    assert_eq!(doc.write_safely(2, End::Ok).await.unwrap(), 2);
    assert_eq!(doc.reads().await, (2, STORED));
}

/// In the process, the fence of a writer that runs has no deadline.
#[tokio::test]
async fn in_process_a_fence_lasts_as_long_as_its_writer() {
    let doc = Doc::with_fence(builder().url("memory:").build().unwrap(), SHORT);
    let writer = doc.writer(2, End::Ok);
    doc.wrote().await;
    tokio::time::sleep(SHORT * 2).await;
    assert_eq!(doc.reads().await, (2, NOT_STORED));
    doc.end_writer();
    writer.await.unwrap().unwrap();
    assert_eq!(doc.reads().await, (2, STORED));
}

fn on(server: &RedisServer) -> Cache {
    builder()
        .url(server.url())
        .namespace("test")
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_writer_that_leaves_leaves_nothing_behind() {
    let server = RedisServer::start();
    let doc = Doc::new(on(&server));
    let writer = doc.writer(2, End::Ok);
    doc.wrote().await;
    assert_eq!(server.keys(), ["test:e:doc", "test:v:doc"]);
    for key in server.keys() {
        let left: u64 = server.query(&["PTTL", &key]);
        assert!(left > LONG.as_secs() * 1000 - 60_000, "{left} ms");
        assert!(left <= LONG.as_secs() * 1000, "{left} ms");
    }
    doc.end_writer();
    writer.await.unwrap().unwrap();
    assert!(server.keys().is_empty());
}

/// A version that is drawn again, and lives as long as the entries that carry it.
#[tokio::test]
async fn a_read_does_not_let_a_fence_live_longer() {
    let server = RedisServer::start();
    let doc = Doc::with_fence(on(&server), Duration::from_secs(30));
    let it = doc.clone();
    let writer = tokio::spawn(async move { it.write_all(2, End::Ok).await });
    doc.wrote().await;
    assert_eq!(doc.reads().await, (2, NOT_STORED));
    let options = Options::new().tag("docs");
    doc.cache.set("page", &2, options).await.unwrap();
    let left: u64 = server.query(&["PTTL", "test:v:docs"]);
    assert!(left <= 30_000, "{left} ms");
    doc.end_writer();
    writer.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_writer_that_died_does_not_keep_another_from_going() {
    let server = RedisServer::start();
    let brief = Doc::with_fence(on(&server), SHORT);
    let lasting = Doc::with_fence(on(&server), LONG);
    let dead = brief.writer(2, End::Ok);
    brief.wrote().await;
    let writer = lasting.writer(3, End::Ok);
    lasting.wrote().await;
    dead.abort();
    tokio::time::sleep(SHORT * 2).await;
    assert_eq!(lasting.reads().await, (3, NOT_STORED));
    lasting.end_writer();
    writer.await.unwrap().unwrap();
    assert!(server.keys().is_empty(), "its deadline has passed");
}

#[tokio::test]
async fn a_body_that_outlives_its_fence_still_invalidates() {
    let server = RedisServer::start();
    let doc = Doc::with_fence(on(&server), SHORT);
    let writer = doc.writer(2, End::Ok);
    doc.wrote().await;
    assert!(doc.caches_again().await);
    doc.value.store(3, Ordering::SeqCst);
    doc.end_writer();
    writer.await.unwrap().unwrap();
    assert_eq!(doc.reads().await, (3, STORED));
}

/// `allkeys-lru` may take it: then the invalidation is what there was without it.
#[tokio::test]
async fn an_evicted_fence_is_an_invalidation_without_one() {
    let server = RedisServer::start();
    let doc = Doc::new(on(&server));
    let writer = doc.writer(2, End::Ok);
    doc.wrote().await;
    server.flush_all();
    assert_eq!(doc.reads().await, (2, STORED));
    doc.value.store(3, Ordering::SeqCst);
    doc.end_writer();
    writer.await.unwrap().unwrap();
    assert_eq!(doc.reads().await, (3, STORED));
}

#[tokio::test]
async fn without_memory_a_fence_stays_until_it_expires() {
    let server = RedisServer::start();
    let one = Doc::new(on(&server));
    let two = Doc::with_fence(on(&server), Duration::from_secs(30));
    let first = one.writer(2, End::Ok);
    one.wrote().await;
    let second = two.writer(3, End::Ok);
    two.wrote().await;
    let _: String = server.query(&["CONFIG", "SET", "maxmemory", "1"]);
    one.cache.invalidate(["doc"]).await.unwrap();
    two.end_writer();
    second.await.unwrap().unwrap();
    assert_eq!(
        server.keys(),
        ["test:e:doc", "test:v:doc"],
        "the first is still behind it"
    );
    one.end_writer();
    first.await.unwrap().unwrap();
    let _: String = server.query(&["CONFIG", "SET", "maxmemory", "0"]);
    for key in server.keys() {
        let fence: Vec<u8> = server.query(&["GET", &key]);
        assert!(fence.starts_with(b"F\x01"), "{fence:?}");
    }
    two.value.store(4, Ordering::SeqCst);
    assert_eq!(two.reads().await.0, 4);
}

#[tokio::test]
async fn without_memory_there_is_no_fence_and_the_body_runs_unless_it_is_required() {
    let server = RedisServer::start();
    let doc = Doc::new(on(&server));
    let _: String = server.query(&["CONFIG", "SET", "maxmemory", "1"]);
    doc.end_writer();
    assert_eq!(doc.write(2, End::Ok).await.unwrap(), 2);
    assert_eq!(doc.cache.stats().errors, 1);
    let Err(Refused::Cache(error)) = doc.write_safely(3, End::Ok).await else {
        panic!("the body ran");
    };
    assert!(error.is_refused(), "{error}");
    assert_eq!(doc.value.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn without_a_server_there_is_no_fence_and_the_body_runs_unless_it_is_required() {
    let mut server = RedisServer::start();
    let doc = Doc::new(on(&server));
    server.kill();
    doc.end_writer();
    assert_eq!(doc.write(2, End::Ok).await.unwrap(), 2);
    let Err(Refused::Cache(error)) = doc.write_safely(3, End::Ok).await else {
        panic!("the body ran");
    };
    assert!(error.is_unavailable(), "{error}");
    assert_eq!(doc.value.load(Ordering::SeqCst), 2);
}

/// The slot is open to writes, and the version is not: what was placed is taken back.
#[tokio::test]
async fn a_required_fence_that_stands_in_part_is_taken_back() {
    let server = RedisServer::start();
    let rule = [
        "ACL",
        "SETUSER",
        "half",
        "on",
        "nopass",
        "+@all",
        "~test:e:*",
    ];
    let _: String = server.query(&rule);
    let url = server.url().replace("://", "://half:any@");
    let doc = Doc::new(builder().url(url).namespace("test").build().unwrap());
    doc.end_writer();
    let Err(Refused::Cache(error)) = doc.write_safely(3, End::Ok).await else {
        panic!("the body ran");
    };
    assert!(error.is_refused(), "{error}");
    assert!(server.keys().is_empty(), "{:?}", server.keys());
    assert_eq!(doc.value.load(Ordering::SeqCst), 1);
}

/// A process that dies after its commit: nobody invalidates any more.
async fn stale_after_a_death(server: &RedisServer, fence: Duration) -> (u64, bool) {
    let doc = Doc::new(on(server));
    assert_eq!(doc.reads().await, (1, STORED));
    let mut process = Command::new(env!("CARGO_BIN_EXE_peer"))
        .args(["write", "--url", &server.url(), "--namespace", "test"])
        .args(["--fence-ms", &fence.as_millis().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(process.stdout.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    assert_eq!(said, "committed\n");
    process.kill().unwrap();
    process.wait().unwrap();
    doc.value.store(2, Ordering::SeqCst);
    doc.reads().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_is_killed_after_its_commit_leaves_nothing_stale() {
    let server = RedisServer::start();
    assert_eq!(stale_after_a_death(&server, LONG).await, (2, NOT_STORED));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_fence_expires() {
    let server = RedisServer::start();
    assert_eq!(stale_after_a_death(&server, SHORT).await.0, 2);
    let doc = Doc::new(on(&server));
    doc.value.store(2, Ordering::SeqCst);
    assert!(doc.caches_again().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_fence_the_same_test_finds_stale_data() {
    let server = RedisServer::start();
    let read = stale_after_a_death(&server, Duration::ZERO).await;
    assert_eq!(read, (1, STORED));
}
