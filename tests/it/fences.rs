//! Updates behind a fence: what is loaded meanwhile is not stored, however the update ends, and
//! if its process dies too.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cache_runtime::{Cache, Options, cache_invalidate, cached};
use cache_tests::{EventLog, Peer, RedisServer, until};
use tokio::task::JoinHandle;

use crate::behaviour::{Recorded, builder, on_every_backend};
use crate::gated::{Gate, answer};

on_every_backend! {
    behind_a_fence_reads_load_and_do_not_store
    a_tag_can_be_behind_a_fence
    an_entry_from_before_the_fence_is_not_served
    a_load_from_before_the_fence_is_not_shared_with_later_callers
    callers_behind_a_fence_share_a_load_that_has_not_begun
    a_fence_of_two_writers_stands_until_the_last_has_ended
    after_an_error_the_fence_stands_until_its_deadline
    after_a_panic_the_fence_stands_until_its_deadline
    after_its_caller_gave_up_the_fence_stands_until_its_deadline
    a_fence_ends_at_its_deadline_after_an_error
    an_invalidation_leaves_the_fence_standing
    set_stores_nothing_behind_a_fence
    set_with_a_tag_behind_a_fence_removes_the_older_value
    clear_and_delete_leave_the_fence_standing
    a_condition_that_is_false_places_no_fence
    a_fence_of_no_length_is_no_fence
    a_name_of_the_result_is_invalidated_and_not_fenced
    an_update_with_a_required_fence_runs_where_the_fence_was_placed
}

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(300);

/// A document. The test says when its loads and its writers end.
#[derive(Debug)]
struct Doc {
    cache: Cache,
    fence: Duration,
    value: AtomicU64,
    loads: AtomicU64,
    load_began: Gate,
    load_may_end: Gate,
    written: Gate,
    writer_may_end: Gate,
}

/// How a writer ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Ok,
    Err,
    Panic,
}

#[derive(Debug)]
enum Failure {
    /// Of a fence that is required.
    Cache(cache_runtime::Error),
    /// As [`End::Err`] says.
    Asked,
}

impl From<cache_runtime::Error> for Failure {
    fn from(error: cache_runtime::Error) -> Self {
        Self::Cache(error)
    }
}

type Written = Result<u64, Failure>;

impl Doc {
    fn new(cache: Cache) -> Arc<Self> {
        Self::with_fence(cache, LONG)
    }

    fn with_fence(cache: Cache, fence: Duration) -> Arc<Self> {
        let doc = Self::gated(cache, fence);
        doc.load_may_end.stay_open();
        doc
    }

    /// A document whose loads wait at a gate.
    fn gated(cache: Cache, fence: Duration) -> Arc<Self> {
        Arc::new(Self {
            cache,
            fence,
            value: AtomicU64::new(1),
            loads: AtomicU64::new(0),
            load_began: Gate::new(),
            load_may_end: Gate::new(),
            written: Gate::new(),
            writer_may_end: Gate::new(),
        })
    }

    #[cached(key = "doc", ttl = 60, invalidate_on = "docs", cache = self.cache)]
    async fn read(&self) -> u64 {
        let value = self.value.load(Ordering::SeqCst);
        self.loads.fetch_add(1, Ordering::SeqCst);
        self.load_began.open();
        self.load_may_end.pass().await;
        value
    }

    async fn body(&self, value: u64, end: End) -> Written {
        self.value.store(value, Ordering::SeqCst);
        self.written.open();
        self.writer_may_end.pass().await;
        match end {
            End::Ok => Ok(value),
            End::Err => Err(Failure::Asked),
            End::Panic => panic!("the test asked for a panic"),
        }
    }

    #[cache_invalidate("doc", fence = self.fence, cache = self.cache)]
    async fn write(&self, value: u64, end: End) -> Written {
        self.body(value, end).await
    }

    #[cache_invalidate("docs", fence = self.fence, cache = self.cache)]
    async fn write_by_tag(&self, value: u64) -> Written {
        self.body(value, End::Ok).await
    }

    #[cache_invalidate("doc", fence = self.fence, fence_required, cache = self.cache)]
    async fn write_with_required_fence(&self, value: u64) -> Written {
        self.body(value, End::Ok).await
    }

    #[cache_invalidate("other", "doc:<result>", fence = "10m", cache = self.cache)]
    async fn write_by_result(&self, value: u64) -> Written {
        self.body(value, End::Ok).await
    }

    #[cache_invalidate("doc", fence = "10m", condition = value > 5, cache = self.cache)]
    async fn write_if_more_than_5(&self, value: u64) -> Written {
        self.body(value, End::Ok).await
    }

    /// Begins to write, and returns when the body has changed the value.
    async fn writer(self: &Arc<Self>, value: u64, end: End) -> Writer {
        let doc = self.clone();
        self.began(async move { doc.write(value, end).await }).await
    }

    /// The same by tag.
    async fn writer_by_tag(self: &Arc<Self>, value: u64) -> Writer {
        let doc = self.clone();
        self.began(async move { doc.write_by_tag(value).await })
            .await
    }

    /// Waits until the body of this update has changed the value.
    async fn began(
        self: &Arc<Self>,
        update: impl Future<Output = Written> + Send + 'static,
    ) -> Writer {
        let task = tokio::spawn(update);
        self.written.passed().await;
        Writer {
            doc: self.clone(),
            task,
        }
    }

    fn reader(self: &Arc<Self>) -> JoinHandle<u64> {
        let doc = self.clone();
        tokio::spawn(async move { doc.read().await })
    }

    fn end_writer(&self) {
        self.writer_may_end.open();
    }

    fn loads(&self) -> u64 {
        self.loads.load(Ordering::SeqCst)
    }

    fn set_silently(&self, value: u64) {
        self.value.store(value, Ordering::SeqCst);
    }

    /// What two reads get, and whether the first was stored for the second.
    async fn reads(&self) -> (u64, bool) {
        let first = self.read().await;
        let loads = self.loads();
        let second = self.read().await;
        assert_eq!(first, second);
        (first, self.loads() == loads)
    }

    /// Waits until reads are stored again.
    async fn is_cached_again(&self) {
        until(async || self.reads().await.1 == STORED).await;
    }
}

/// A task that writes a document.
struct Writer {
    doc: Arc<Doc>,
    task: JoinHandle<Written>,
}

impl Writer {
    /// Lets the only writer end well.
    async fn ends(self) {
        self.doc.end_writer();
        answer(self.task).await.unwrap();
    }
}

const NOT_STORED: bool = false;
const STORED: bool = true;

/// The events of [`Doc::reads`] without a fence,
const READS: [&str; 4] = ["miss doc", "load doc", "fill doc ttl=60s", "hit doc"];
/// and behind one.
const FENCED_READS: [&str; 6] = [
    "miss doc",
    "load doc",
    "not filled doc: unstorable",
    "miss doc",
    "load doc",
    "not filled doc: unstorable",
];

async fn behind_a_fence_reads_load_and_do_not_store(Recorded { cache, events }: Recorded) {
    let doc = Doc::new(cache);
    assert_eq!(doc.reads().await, (1, STORED));
    assert_eq!(events.take(), READS);
    let writer = doc.writer(2, End::Ok).await;
    assert_eq!(events.take(), ["fence doc"]);
    assert_eq!(doc.reads().await, (2, NOT_STORED));
    assert_eq!(events.take(), FENCED_READS);
    writer.ends().await;
    assert_eq!(events.take(), ["invalidate doc", "unfence doc"]);
    assert_eq!(doc.reads().await, (2, STORED));
    assert_eq!(events.take(), READS);
}

async fn a_tag_can_be_behind_a_fence(Recorded { cache, events }: Recorded) {
    let doc = Doc::new(cache);
    assert_eq!(doc.reads().await, (1, STORED));
    assert_eq!(events.take(), READS);
    let writer = doc.writer_by_tag(2).await;
    assert_eq!(events.take(), ["fence docs"]);
    assert_eq!(doc.reads().await, (2, NOT_STORED));
    assert_eq!(events.take(), FENCED_READS);
    writer.ends().await;
    assert_eq!(events.take(), ["invalidate docs", "unfence docs"]);
    assert_eq!(doc.reads().await, (2, STORED));
    assert_eq!(events.take(), READS);
}

async fn an_entry_from_before_the_fence_is_not_served(cache: Cache) {
    let doc = Doc::new(cache);
    assert_eq!(doc.reads().await, (1, STORED));
    let writer = doc.writer(2, End::Ok).await;
    assert!(!doc.cache.exists("doc").await.unwrap());
    assert_eq!(doc.cache.get::<u64>("doc").await.unwrap(), None);
    writer.ends().await;
}

async fn a_load_from_before_the_fence_is_not_shared_with_later_callers(
    Recorded { cache, events }: Recorded,
) {
    let doc = Doc::gated(cache, LONG);
    let before = doc.reader();
    doc.load_began.passed().await;
    let writer = doc.writer(2, End::Ok).await;
    assert_eq!(events.take(), ["miss doc", "load doc", "fence doc"]);
    let after = doc.reader();
    // In process, the fence has ended the older load's flight: the second reader loads at once. On
    // a server, it waits until that load has ended, and does not share it.
    let has_come = |line: &String| line == "load doc" || line == "wait doc";
    events.until_lines(|lines| lines.iter().any(has_come)).await;
    doc.load_may_end.stay_open();
    assert_eq!(answer(before).await, 1);
    assert_eq!(answer(after).await, 2);
    let mut ended = events.take_sorted();
    ended.retain(|line| line != "wait doc");
    let expected = [
        "load doc",
        "miss doc",
        "not filled doc: overtaken",
        "not filled doc: unstorable",
    ];
    assert_eq!(ended, expected);
    writer.ends().await;
    assert_eq!(doc.reads().await, (2, STORED));
}

async fn callers_behind_a_fence_share_a_load_that_has_not_begun(
    Recorded { cache, events }: Recorded,
) {
    let doc = Doc::gated(cache, LONG);
    let writer = doc.writer(2, End::Ok).await;
    let first = doc.reader();
    doc.load_began.passed().await;
    assert_eq!(events.take(), ["fence doc", "miss doc", "load doc"]);
    // One of these waits until the first load has ended, and loads; the others wait for it.
    let others: Vec<_> = (0..50).map(|_| doc.reader()).collect();
    events.until_count("wait doc", 50).await;
    assert_eq!(events.take(), vec!["wait doc"; 50]);
    doc.load_may_end.stay_open();
    for reader in others.into_iter().chain([first]) {
        assert_eq!(answer(reader).await, 2);
    }
    let mut expected = vec!["load doc"];
    expected.extend(["miss doc"; 50]);
    expected.extend(["not filled doc: unstorable"; 2]);
    expected.extend(["share doc"; 49]);
    assert_eq!(events.take_sorted(), expected);
    writer.ends().await;
}

async fn a_fence_of_two_writers_stands_until_the_last_has_ended(
    Recorded { cache, events }: Recorded,
) {
    let doc = Doc::new(cache);
    let mut one = doc.writer(2, End::Ok).await.task;
    let mut two = doc.writer(3, End::Ok).await.task;
    assert_eq!(events.take(), ["fence doc", "fence doc"]);
    doc.end_writer();
    // Either writer may be the first to end.
    let (ended, last) = tokio::select! {
        ended = &mut one => (ended, two),
        ended = &mut two => (ended, one),
    };
    ended.unwrap().unwrap();
    assert_eq!(events.take(), ["invalidate doc", "unfence doc"]);
    assert_eq!(doc.reads().await, (3, NOT_STORED));
    assert_eq!(events.take(), FENCED_READS);
    doc.end_writer();
    answer(last).await.unwrap();
    assert_eq!(events.take(), ["invalidate doc", "unfence doc"]);
    assert_eq!(doc.reads().await, (3, STORED));
}

async fn after_an_error_the_fence_stands_until_its_deadline(Recorded { cache, events }: Recorded) {
    let doc = Doc::new(cache);
    doc.end_writer();
    assert!(matches!(doc.write(2, End::Err).await, Err(Failure::Asked)));
    assert_eq!(events.take(), ["fence doc", "invalidate doc"]);
    assert_eq!(doc.reads().await, (2, NOT_STORED));
    assert_eq!(events.take(), FENCED_READS);
}

async fn after_a_panic_the_fence_stands_until_its_deadline(Recorded { cache, events }: Recorded) {
    let doc = Doc::new(cache);
    let writer = doc.writer(2, End::Panic).await;
    doc.end_writer();
    assert!(writer.task.await.unwrap_err().is_panic());
    events.until("invalidate doc").await;
    assert_eq!(events.take(), ["fence doc", "invalidate doc"]);
    assert_eq!(doc.reads().await, (2, NOT_STORED));
    assert_eq!(events.take(), FENCED_READS);
}

async fn after_its_caller_gave_up_the_fence_stands_until_its_deadline(
    Recorded { cache, events }: Recorded,
) {
    let doc = Doc::new(cache);
    let writer = doc.writer(2, End::Ok).await;
    writer.task.abort();
    assert!(writer.task.await.unwrap_err().is_cancelled());
    events.until("invalidate doc").await;
    assert_eq!(events.take(), ["fence doc", "invalidate doc"]);
    assert_eq!(doc.reads().await, (2, NOT_STORED));
    assert_eq!(events.take(), FENCED_READS);
}

async fn a_fence_ends_at_its_deadline_after_an_error(cache: Cache) {
    let doc = Doc::with_fence(cache, SHORT);
    doc.end_writer();
    assert!(doc.write(2, End::Err).await.is_err());
    doc.is_cached_again().await;
    assert_eq!(doc.reads().await, (2, STORED));
}

async fn an_invalidation_leaves_the_fence_standing(cache: Cache) {
    let doc = Doc::new(cache);
    let writers = [doc.writer(2, End::Ok).await, doc.writer_by_tag(3).await];
    doc.cache.invalidate(["doc", "docs"]).await.unwrap();
    assert_eq!(doc.reads().await, (3, NOT_STORED));
    doc.writer_may_end.stay_open();
    for writer in writers {
        writer.ends().await;
    }
    assert_eq!(doc.reads().await, (3, STORED));
}

async fn set_stores_nothing_behind_a_fence(Recorded { cache, events }: Recorded) {
    let doc = Doc::new(cache);
    let writer = doc.writer(2, End::Ok).await;
    doc.cache.set("doc", &1_u64, Options::new()).await.unwrap();
    assert_eq!(events.take(), ["fence doc", "not filled doc: unstorable"]);
    assert_eq!(doc.reads().await, (2, NOT_STORED));
    writer.ends().await;
    events.take();
    doc.cache.set("doc", &5_u64, Options::new()).await.unwrap();
    assert_eq!(events.take(), ["fill doc ttl=300s"]);
    assert_eq!(doc.cache.get("doc").await.unwrap(), Some(5_u64));
}

/// The value that was there before is older than the one that is not stored, so it must go.
async fn set_with_a_tag_behind_a_fence_removes_the_older_value(
    Recorded { cache, events }: Recorded,
) {
    let doc = Doc::new(cache);
    doc.cache.set("page", &1, Options::new()).await.unwrap();
    let writer = doc.writer_by_tag(2).await;
    let options = || Options::new().tag("docs");
    doc.cache.set("page", &2, options()).await.unwrap();
    assert_eq!(doc.cache.get::<i32>("page").await.unwrap(), None);
    writer.ends().await;
    doc.cache.set("page", &3, options()).await.unwrap();
    assert_eq!(doc.cache.get("page").await.unwrap(), Some(3));
    let expected = [
        "fill page ttl=300s",
        "fence docs",
        "not filled page: unstorable",
        "miss page",
        "invalidate docs",
        "unfence docs",
        "fill page ttl=300s",
        "hit page",
    ];
    assert_eq!(events.take(), expected);
}

async fn clear_and_delete_leave_the_fence_standing(Recorded { cache, events }: Recorded) {
    let doc = Doc::new(cache);
    doc.cache.set("another", &1, Options::new()).await.unwrap();
    let writer = doc.writer(2, End::Ok).await;
    events.take();
    assert!(!doc.cache.delete("doc").await.unwrap());
    assert_eq!(events.take(), ["delete doc: absent"]);
    assert_eq!(doc.reads().await, (2, NOT_STORED));
    assert_eq!(events.take(), FENCED_READS);
    doc.cache.clear().await.unwrap();
    assert_eq!(events.take(), ["clear"]);
    assert!(!doc.cache.exists("another").await.unwrap());
    assert_eq!(doc.reads().await, (2, NOT_STORED));
    assert_eq!(events.take(), FENCED_READS);
    writer.ends().await;
    assert_eq!(doc.reads().await, (2, STORED));
}

async fn a_condition_that_is_false_places_no_fence(Recorded { cache, events }: Recorded) {
    let doc = Doc::new(cache);
    let it = doc.clone();
    let update = async move { it.write_if_more_than_5(2).await };
    let writer = doc.began(update).await;
    assert_eq!(doc.reads().await, (2, STORED));
    writer.ends().await;
    assert_eq!(events.take(), READS);
}

async fn a_fence_of_no_length_is_no_fence(Recorded { cache, events }: Recorded) {
    let doc = Doc::with_fence(cache, Duration::ZERO);
    let writer = doc.writer(2, End::Ok).await;
    assert_eq!(doc.reads().await, (2, STORED));
    assert_eq!(events.take(), READS);
    writer.ends().await;
    assert_eq!(events.take(), ["invalidate doc"]);
    assert!(!doc.cache.exists("doc").await.unwrap());
}

async fn a_name_of_the_result_is_invalidated_and_not_fenced(Recorded { cache, events }: Recorded) {
    let doc = Doc::new(cache);
    let it = doc.clone();
    let update = async move { it.write_by_result(2).await };
    let writer = doc.began(update).await;
    for name in ["other", "doc:2"] {
        doc.cache.set(name, &1, Options::new()).await.unwrap();
    }
    assert!(!doc.cache.exists("other").await.unwrap());
    assert!(doc.cache.exists("doc:2").await.unwrap());
    writer.ends().await;
    let expected = [
        "fence other",
        "not filled other: unstorable",
        "fill doc:2 ttl=300s",
        "invalidate other doc:2",
        "unfence other",
    ];
    assert_eq!(events.take(), expected);
    assert!(!doc.cache.exists("doc:2").await.unwrap());
}

async fn an_update_with_a_required_fence_runs_where_the_fence_was_placed(
    Recorded { cache, events }: Recorded,
) {
    let doc = Doc::new(cache);
    doc.end_writer();
    assert_eq!(doc.write_with_required_fence(2).await.unwrap(), 2);
    let expected = ["fence doc", "invalidate doc", "unfence doc"];
    assert_eq!(events.take(), expected);
    assert_eq!(doc.reads().await, (2, STORED));
}

#[tokio::test]
async fn in_process_the_fence_of_a_running_writer_has_no_deadline() {
    let doc = Doc::with_fence(builder("memory:").build().unwrap(), SHORT);
    let writer = doc.writer(2, End::Ok).await;
    // What would be the deadline passes.
    tokio::time::sleep(SHORT * 2).await;
    assert_eq!(doc.reads().await, (2, NOT_STORED));
    writer.ends().await;
    assert_eq!(doc.reads().await, (2, STORED));
}

fn on(server: &RedisServer) -> Cache {
    let builder = builder(&server.url()).namespace("test");
    builder.build().unwrap()
}

fn recorded_on(server: &RedisServer) -> (Cache, EventLog) {
    let events = EventLog::default();
    let builder = builder(&server.url()).namespace("test");
    (events.record(builder).build().unwrap(), events)
}

#[tokio::test]
async fn a_writer_that_ends_leaves_no_key_behind() {
    let server = RedisServer::start();
    let doc = Doc::new(on(&server));
    let writer = doc.writer(2, End::Ok).await;
    assert_eq!(server.keys(), ["test:e:doc", "test:v:doc"]);
    for key in server.keys() {
        let left: u64 = server.query(&["PTTL", &key]);
        assert!(left > LONG.as_secs() * 1000 - 60_000, "{left} ms");
        assert!(left <= LONG.as_secs() * 1000, "{left} ms");
    }
    writer.ends().await;
    assert!(server.keys().is_empty());
}

/// A read draws the version of a tag again, and makes it live as long as the entries that carry
/// the tag. It must not do that to a fence.
#[tokio::test]
async fn a_read_does_not_let_a_fence_live_longer() {
    let server = RedisServer::start();
    let doc = Doc::with_fence(on(&server), Duration::from_secs(30));
    let writer = doc.writer_by_tag(2).await;
    assert_eq!(doc.reads().await, (2, NOT_STORED));
    let options = Options::new().tag("docs");
    doc.cache.set("page", &2, options).await.unwrap();
    let left: u64 = server.query(&["PTTL", "test:v:docs"]);
    assert!(left <= 30_000, "{left} ms");
    writer.ends().await;
}

#[tokio::test]
async fn the_fence_of_a_writer_that_died_does_not_keep_that_of_another_standing() {
    let server = RedisServer::start();
    let brief = Doc::with_fence(on(&server), SHORT);
    let lasting = Doc::with_fence(on(&server), LONG);
    let dead = brief.writer(2, End::Ok).await;
    let writer = lasting.writer(3, End::Ok).await;
    dead.task.abort();
    // The deadline of the dead writer passes.
    tokio::time::sleep(SHORT * 2).await;
    assert_eq!(lasting.reads().await, (3, NOT_STORED));
    writer.ends().await;
    assert!(server.keys().is_empty(), "{:?}", server.keys());
}

/// How many bytes a fence with as many writers as it names has, and with a nameless one.
const LONGEST_FENCE: usize = 521;

/// How many writers a fence names.
const NAMED: u64 = 16;

fn fence_bytes(server: &RedisServer) -> usize {
    server.query(&["STRLEN", "test:e:doc"])
}

#[tokio::test]
async fn a_fence_that_many_abandon_stays_short_and_stands_until_the_latest_deadline() {
    let server = RedisServer::start();
    let (long, short) = (
        Doc::with_fence(on(&server), LONG),
        Doc::with_fence(on(&server), SHORT),
    );
    for doc in [&long, &short] {
        doc.writer_may_end.stay_open();
    }
    // The first writers lose their names to the later ones, whose deadlines are later.
    for value in 0..NAMED * 2 {
        long.write(value, End::Err).await.unwrap_err();
    }
    let longest = fence_bytes(&server);
    assert!(
        (LONGEST_FENCE - 17..=LONGEST_FENCE).contains(&longest),
        "{longest}"
    );
    for value in 0..NAMED * 2 {
        short.write(value, End::Err).await.unwrap_err();
        assert!(fence_bytes(&server) <= LONGEST_FENCE);
    }
    short.write(100, End::Ok).await.unwrap();
    tokio::time::sleep(SHORT * 2).await;
    assert_eq!(short.reads().await, (100, NOT_STORED));
    let left: u128 = server.query(&["PTTL", "test:e:doc"]);
    assert!(left > LONG.as_millis() - 60_000, "{left} ms");
}

/// Starts so many writers that are at work at the same time, and lets all of them end well.
async fn end_well(doc: &Arc<Doc>, writers: u64) {
    let mut tasks = Vec::new();
    for value in 0..writers {
        tasks.push(doc.writer(value, End::Ok).await.task);
    }
    assert_eq!(doc.reads().await.1, NOT_STORED);
    doc.writer_may_end.stay_open();
    for task in tasks {
        answer(task).await.unwrap();
    }
}

#[tokio::test]
async fn as_many_writers_as_a_fence_names_end_it_when_they_end() {
    let server = RedisServer::start();
    end_well(&Doc::new(on(&server)), NAMED).await;
    assert!(server.keys().is_empty(), "{:?}", server.keys());
}

#[tokio::test]
async fn of_more_writers_at_a_time_some_end_the_fence_at_their_deadline() {
    let server = RedisServer::start();
    let doc = Doc::with_fence(on(&server), Duration::from_secs(1));
    end_well(&doc, NAMED + 4).await;
    assert_eq!(doc.reads().await.1, NOT_STORED);
    doc.is_cached_again().await;
}

#[tokio::test]
async fn a_body_that_outlives_its_fence_still_invalidates() {
    let server = RedisServer::start();
    let doc = Doc::with_fence(on(&server), SHORT);
    let writer = doc.writer(2, End::Ok).await;
    doc.is_cached_again().await;
    doc.set_silently(3);
    writer.ends().await;
    assert_eq!(doc.reads().await, (3, STORED));
}

/// A server may evict a fence, under `allkeys-lru` say. The update still invalidates when it ends.
#[tokio::test]
async fn an_update_whose_fence_is_lost_still_invalidates() {
    let server = RedisServer::start();
    let doc = Doc::new(on(&server));
    let writer = doc.writer(2, End::Ok).await;
    server.flush_all();
    assert_eq!(doc.reads().await, (2, STORED));
    doc.set_silently(3);
    writer.ends().await;
    assert_eq!(doc.reads().await, (3, STORED));
}

#[tokio::test]
async fn without_memory_a_fence_stands_until_its_deadline() {
    let server = RedisServer::start();
    let one = Doc::new(on(&server));
    let two = Doc::with_fence(on(&server), Duration::from_secs(30));
    let first = one.writer(2, End::Ok).await;
    let second = two.writer(3, End::Ok).await;
    server.configure("maxmemory", "1");
    one.cache.invalidate(["doc"]).await.unwrap();
    second.ends().await;
    assert_eq!(
        server.keys(),
        ["test:e:doc", "test:v:doc"],
        "the first writer is still at work"
    );
    first.ends().await;
    server.configure("maxmemory", "0");
    for key in server.keys() {
        let fence: Vec<u8> = server.query(&["GET", &key]);
        assert!(fence.starts_with(b"F\x01"), "{fence:?}");
    }
    two.set_silently(4);
    assert_eq!(two.reads().await.0, 4);
}

/// The error for which an update with a required fence did not run.
async fn refusal(doc: &Doc) -> cache_runtime::Error {
    let value = doc.value.load(Ordering::SeqCst);
    let refusal = doc.write_with_required_fence(value + 1).await;
    assert_eq!(doc.value.load(Ordering::SeqCst), value, "the body ran");
    match refusal {
        Err(Failure::Cache(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn without_memory_the_body_runs_without_a_fence_unless_it_is_required() {
    let server = RedisServer::start();
    let (cache, events) = recorded_on(&server);
    let doc = Doc::new(cache);
    server.configure("maxmemory", "1");
    doc.writer_may_end.stay_open();
    assert_eq!(doc.write(2, End::Ok).await.unwrap(), 2);
    let expected = ["server refuses", "not fenced doc", "invalidate doc"];
    assert_eq!(events.take_without_reasons(), expected);
    assert_eq!(doc.cache.stats().errors, 1);
    let error = refusal(&doc).await;
    assert!(error.is_refused(), "{error}");
}

#[tokio::test]
async fn without_a_server_the_body_runs_without_a_fence_unless_it_is_required() {
    let mut server = RedisServer::start();
    let (cache, events) = recorded_on(&server);
    let doc = Doc::new(cache);
    server.kill();
    doc.writer_may_end.stay_open();
    assert_eq!(doc.write(2, End::Ok).await.unwrap(), 2);
    let expected = [
        "server away",
        "not fenced doc",
        "journal keeps",
        "not invalidated doc",
    ];
    assert_eq!(events.take_without_reasons(), expected);
    let error = refusal(&doc).await;
    assert!(error.is_unavailable(), "{error}");
}

/// The user may write the slot and not the version: the fence that was placed on the slot goes.
#[tokio::test]
async fn a_required_fence_that_was_placed_in_part_is_removed() {
    let server = RedisServer::start();
    server.set_user("half", &["on", "nopass", "+@all", "~test:e:*"]);
    let url = server.url().replace("://", "://half:any@");
    let doc = Doc::new(builder(&url).namespace("test").build().unwrap());
    doc.writer_may_end.stay_open();
    let error = refusal(&doc).await;
    assert!(error.is_refused(), "{error}");
    assert!(server.keys().is_empty(), "{:?}", server.keys());
}

/// What is read after a process has died between its commit and its invalidation.
async fn reads_after_a_death(server: &RedisServer, fence: Duration) -> (u64, bool) {
    let doc = Doc::new(on(server));
    assert_eq!(doc.reads().await, (1, STORED));
    let mut writer = Peer::start(
        Command::new(env!("CARGO_BIN_EXE_peer"))
            .args(["write", "--url", &server.url(), "--namespace", "test"])
            .args(["--fence-ms", &fence.as_millis().to_string()]),
    );
    assert_eq!(writer.answer(), "committed");
    writer.kill();
    doc.set_silently(2);
    doc.reads().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_is_killed_after_its_commit_leaves_nothing_stale() {
    let server = RedisServer::start();
    assert_eq!(reads_after_a_death(&server, LONG).await, (2, NOT_STORED));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fence_of_a_killed_writer_ends_at_its_deadline() {
    let server = RedisServer::start();
    assert_eq!(reads_after_a_death(&server, SHORT).await.0, 2);
    let doc = Doc::new(on(&server));
    doc.set_silently(2);
    doc.is_cached_again().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_fence_the_same_test_finds_stale_data() {
    let server = RedisServer::start();
    let read = reads_after_a_death(&server, Duration::ZERO).await;
    assert_eq!(read, (1, STORED));
}
