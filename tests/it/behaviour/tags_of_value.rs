//! Tags that only the loaded value tells: a closure in `invalidate_on`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_runtime::{
    Cache, CacheBuilder, CacheTag, CachedEntry, Event, Key, NotFilledReason, Options,
    cache_invalidate, cached, key, prime, refresh,
};
use cache_tests::{RedisServer, until};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, Semaphore};

use super::{Recorded, counts, on_every_backend, without_watches};

on_every_backend! {
    the_second_load_is_stored_and_a_tag_of_the_value_invalidates_it
    tags_may_change
    fewer_tags_are_stored_at_once
    an_invalidation_while_the_value_is_loaded_is_not_missed
    an_invalidation_of_a_new_tag_while_it_is_loaded_is_not_missed
    callers_that_wait_share_the_second_load
    a_none_has_no_tags_of_its_own
    an_error_has_no_tags
    a_value_without_tags_is_stored_at_once
    a_value_that_is_primed_has_its_tags
    a_refresh_stores_under_the_tags_of_the_value
    what_is_set_by_hand_is_not_taken_for_a_value_with_its_tags
    nothing_is_stored_behind_a_fence_around_a_tag_of_the_value
    an_invalid_tag_keeps_a_value_from_being_stored
    too_many_tags_keep_a_value_from_being_stored
    long_tags_invalidate_as_others_do
    tags_may_be_keys_and_strings_and_come_from_several_closures
    a_load_in_a_task_tells_tags_too
    a_future_that_is_returned_tells_tags_too
    another_cache_learns_the_tags_from_the_entry
    an_entry_that_remembers_is_no_entry
    a_schema_version_and_a_codec_go_with_it
}

#[derive(CacheTag)]
#[cache_tag("issue:<0>")]
struct IssueTag(u64);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Page {
    issues: Vec<u64>,
    title: String,
}

/// Which issues each page has, and how often a page was loaded.
#[derive(Default)]
struct Database {
    pages: Mutex<BTreeMap<u64, Vec<u64>>>,
    title: AtomicU64,
    loads: AtomicU64,
}

struct Pages {
    cache: Cache,
    database: Database,
}

impl Pages {
    fn new(cache: Cache) -> Arc<Self> {
        let database = Database::default();
        Arc::new(Self { cache, database })
    }

    fn put(&self, nr: u64, issues: &[u64]) {
        let mut pages = self.database.pages.lock().unwrap();
        pages.insert(nr, issues.to_vec());
    }

    fn loads(&self) -> u64 {
        self.database.loads.load(SeqCst)
    }

    fn load(&self, nr: u64) -> Option<Page> {
        self.database.loads.fetch_add(1, SeqCst);
        let issues = self.database.pages.lock().unwrap().get(&nr).cloned()?;
        let title = self.database.title.load(SeqCst).to_string();
        Some(Page { issues, title })
    }

    #[cached(
        key = "page:<project>:<nr>",
        ttl = 60,
        none_ttl = 60,
        invalidate_on = ["pages-of:<project>", |page| page.issues.iter().map(|issue| IssueTag(*issue))],
        cache = self.cache,
    )]
    async fn page(&self, project: u64, nr: u64) -> Result<Option<Page>, String> {
        if nr == 13 {
            self.database.loads.fetch_add(1, SeqCst);
            return Err("there is no such page".to_owned());
        }
        Ok(self.load(nr))
    }

    /// The issues of a page, and how often pages were loaded by then.
    async fn read(&self, nr: u64) -> (Option<Vec<u64>>, u64) {
        let page = self.page(1, nr).await.unwrap();
        (page.map(|page| page.issues), self.loads())
    }

    #[cache_invalidate(IssueTag(issue), cache = self.cache)]
    async fn change(&self, issue: u64) {
        let _ = issue;
        self.database.title.fetch_add(1, SeqCst);
    }
}

async fn the_second_load_is_stored_and_a_tag_of_the_value_invalidates_it(
    Recorded { cache, events }: Recorded,
) {
    let pages = Pages::new(cache);
    pages.put(1, &[3, 7]);
    for loads in [1, 2, 2, 2] {
        assert_eq!(pages.read(1).await, (Some(vec![3, 7]), loads));
    }
    let expected = [
        "miss page:1:1",
        "load page:1:1",
        "not filled page:1:1: new tags",
        "miss page:1:1",
        "load page:1:1",
        "fill page:1:1 ttl=60s",
        "hit page:1:1",
        "hit page:1:1",
    ];
    assert_eq!(without_watches(events.take()), expected);
    // From here on, each change costs one load.
    for (issue, loads) in [(7, 3), (8, 3), (3, 4)] {
        pages.change(issue).await;
        let page = pages.page(1, 1).await.unwrap().unwrap();
        let expected = if issue == 8 {
            "1"
        } else {
            &pages.database.title.load(SeqCst).to_string()
        };
        assert_eq!(page.title, expected);
        assert_eq!(pages.read(1).await, (Some(vec![3, 7]), loads));
    }
    // So does one of the tags that are known before the load, and the key.
    pages.cache.invalidate(["pages-of:1"]).await.unwrap();
    assert_eq!(pages.read(1).await.1, 5);
    pages.cache.invalidate(["page:1:1"]).await.unwrap();
    assert_eq!(pages.read(1).await.1, 6);
    assert_eq!(pages.read(1).await.1, 6);
}

async fn tags_may_change(cache: Cache) {
    let pages = Pages::new(cache);
    pages.put(1, &[3]);
    for loads in [1, 2, 2] {
        assert_eq!(pages.read(1).await, (Some(vec![3]), loads));
    }
    pages.put(1, &[3, 4]);
    pages.change(3).await;
    for loads in [3, 4, 4] {
        assert_eq!(pages.read(1).await, (Some(vec![3, 4]), loads));
    }
    pages.put(1, &[5]);
    pages.change(4).await;
    for loads in [5, 6, 6] {
        assert_eq!(pages.read(1).await, (Some(vec![5]), loads));
    }
    // It has the new tags only.
    pages.change(3).await;
    assert_eq!(pages.read(1).await.1, 6);
    pages.change(5).await;
    assert_eq!(pages.read(1).await.1, 7);
}

async fn fewer_tags_are_stored_at_once(cache: Cache) {
    let pages = Pages::new(cache);
    pages.put(1, &[9, 1, 5]);
    pages.read(1).await;
    pages.read(1).await;
    // In another order, and fewer.
    pages.put(1, &[5, 9]);
    pages.change(1).await;
    assert_eq!(pages.read(1).await, (Some(vec![5, 9]), 3));
    let stored = pages.read(1).await.1;
    // In a cluster, other servers have the versions.
    assert!(stored <= 4, "{stored}");
    assert_eq!(pages.read(1).await.1, stored);
    pages.change(1).await;
    assert_eq!(pages.read(1).await.1, stored);
    pages.change(9).await;
    assert_eq!(pages.read(1).await.1, stored + 1);
}

/// Loads that wait until they are let on, after they have read.
struct Gated {
    cache: Cache,
    value: Mutex<Vec<u64>>,
    may_end: Semaphore,
    /// How many loads have read.
    loads: AtomicU64,
}

impl Gated {
    fn new(cache: Cache, value: &[u64]) -> Arc<Self> {
        Arc::new(Self {
            cache,
            value: Mutex::new(value.to_vec()),
            may_end: Semaphore::new(0),
            loads: AtomicU64::new(0),
        })
    }

    #[cached(key = "gated", invalidate_on = |issues| issues.iter().map(|id| IssueTag(*id)), cache = self.cache)]
    async fn get(&self) -> Vec<u64> {
        let value = self.value.lock().unwrap().clone();
        self.loads.fetch_add(1, SeqCst);
        self.may_end.acquire().await.unwrap().forget();
        value
    }

    /// A call whose load has read, and waits.
    async fn begin(self: &Arc<Self>) -> tokio::task::JoinHandle<Vec<u64>> {
        let before = self.loads.load(SeqCst);
        let call = tokio::spawn({
            let this = self.clone();
            async move { this.get().await }
        });
        until(async || self.loads.load(SeqCst) > before).await;
        call
    }

    /// A call that loads, and whose load ends.
    async fn run(self: &Arc<Self>) -> Vec<u64> {
        self.may_end.add_permits(1);
        let got = self.get().await;
        if let Ok(left) = self.may_end.try_acquire() {
            left.forget();
        }
        got
    }
}

async fn an_invalidation_while_the_value_is_loaded_is_not_missed(cache: Cache) {
    let gated = Gated::new(cache, &[1]);
    assert_eq!(gated.run().await, [1]);
    assert_eq!(gated.run().await, [1]);
    assert_eq!(gated.get().await, [1]);
    gated.cache.invalidate(["gated"]).await.unwrap();
    let call = gated.begin().await;
    *gated.value.lock().unwrap() = vec![1, 1];
    gated.cache.invalidate([IssueTag(1)]).await.unwrap();
    // One that comes now does not share the load, which it came after.
    let late = gated.begin().await;
    gated.may_end.add_permits(2);
    assert_eq!(late.await.unwrap(), [1, 1]);
    assert_eq!(call.await.unwrap(), [1]);
    assert_eq!(gated.run().await, [1, 1]);
}

async fn an_invalidation_of_a_new_tag_while_it_is_loaded_is_not_missed(cache: Cache) {
    let gated = Gated::new(cache, &[1]);
    let call = gated.begin().await;
    *gated.value.lock().unwrap() = vec![2];
    gated.cache.invalidate([IssueTag(1)]).await.unwrap();
    // It sees what the first one saw: nothing tells yet that the value has the tag.
    let late = tokio::spawn({
        let gated = gated.clone();
        async move { gated.get().await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    gated.may_end.add_permits(10);
    assert_eq!(call.await.unwrap(), [1]);
    assert_eq!(late.await.unwrap(), [2]);
    assert_eq!(gated.get().await, [2]);
    assert_eq!(gated.get().await, [2]);
    let loads = gated.loads.load(SeqCst);
    assert_eq!(gated.get().await, [2]);
    assert_eq!(gated.loads.load(SeqCst), loads);
}

async fn callers_that_wait_share_the_second_load(cache: Cache) {
    let gated = Gated::new(cache, &[1, 2, 3]);
    let call = gated.begin().await;
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let gated = gated.clone();
            tokio::spawn(async move { gated.get().await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    gated.may_end.add_permits(100);
    assert_eq!(call.await.unwrap(), [1, 2, 3]);
    for caller in callers {
        assert_eq!(caller.await.unwrap(), [1, 2, 3]);
    }
    assert_eq!(gated.loads.load(SeqCst), 2);
}

async fn a_none_has_no_tags_of_its_own(cache: Cache) {
    let pages = Pages::new(cache);
    for _ in 0..3 {
        assert_eq!(pages.read(1).await, (None, 1));
    }
    pages.cache.invalidate(["pages-of:1"]).await.unwrap();
    pages.put(1, &[4]);
    for loads in [2, 3, 3] {
        assert_eq!(pages.read(1).await, (Some(vec![4]), loads));
    }
    // With the tags of the value that was there before.
    pages.database.pages.lock().unwrap().clear();
    pages.change(4).await;
    for loads in [4, 4] {
        assert_eq!(pages.read(1).await, (None, loads));
    }
    pages.change(4).await;
    assert_eq!(pages.read(1).await, (None, 4));
}

async fn an_error_has_no_tags(cache: Cache) {
    let pages = Pages::new(cache);
    for loads in [1, 2] {
        assert!(pages.page(1, 13).await.is_err());
        assert_eq!(pages.loads(), loads);
    }
}

async fn a_value_without_tags_is_stored_at_once(cache: Cache) {
    let pages = Pages::new(cache);
    pages.put(1, &[]);
    for _ in 0..3 {
        assert_eq!(pages.read(1).await, (Some(vec![]), 1));
    }
    pages.cache.invalidate(["pages-of:1"]).await.unwrap();
    assert_eq!(pages.read(1).await.1, 2);
}

async fn a_value_that_is_primed_has_its_tags(cache: Cache) {
    let pages = Pages::new(cache);
    let page = |issues: &[u64]| Page {
        issues: issues.to_vec(),
        title: "primed".to_owned(),
    };
    pages.put(1, &[8, 6]);
    prime(pages.page(1, 1), page(&[6, 8])).await.unwrap();
    assert_eq!(pages.read(1).await, (Some(vec![6, 8]), 0));
    let entry = CachedEntry::of(pages.page(1, 1)).unwrap();
    assert!(entry.exists().await.unwrap());
    assert_eq!(entry.get::<Page>().await.unwrap(), Some(page(&[6, 8])));
    assert_eq!(entry.tags(), [Key::from("pages-of:1")]);
    pages.change(8).await;
    assert!(!entry.exists().await.unwrap());
    // Its tags are remembered, so the load is stored.
    assert_eq!(pages.read(1).await, (Some(vec![8, 6]), 1));
    assert_eq!(pages.read(1).await.1, 1);
    prime(pages.page(1, 1), None::<Page>).await.unwrap();
    assert_eq!(pages.read(1).await, (None, 1));
    let many = prime(pages.page(1, 1), page(&(0..2_000).collect::<Vec<_>>()));
    assert!(many.await.unwrap_err().is_codec());
    assert_eq!(pages.read(1).await, (None, 1));
}

async fn a_refresh_stores_under_the_tags_of_the_value(cache: Cache) {
    let pages = Pages::new(cache);
    pages.put(1, &[2]);
    pages.read(1).await;
    pages.read(1).await;
    assert_eq!(pages.loads(), 2);
    pages.database.title.fetch_add(1, SeqCst);
    let page = refresh(pages.page(1, 1)).await.unwrap().unwrap();
    assert_eq!((page.title.as_str(), pages.loads()), ("1", 3));
    assert_eq!(pages.read(1).await.1, 3);
    pages.change(2).await;
    assert_eq!(pages.read(1).await.1, 4);
    // With new tags, the value that is there goes: it is older.
    pages.put(1, &[2, 3]);
    let page = refresh(pages.page(1, 1)).await.unwrap().unwrap();
    assert_eq!((page.issues, pages.loads()), (vec![2, 3], 5));
    for _ in 0..2 {
        assert_eq!(pages.read(1).await, (Some(vec![2, 3]), 6));
    }
    pages.change(3).await;
    assert_eq!(pages.read(1).await.1, 7);
}

async fn what_is_set_by_hand_is_not_taken_for_a_value_with_its_tags(cache: Cache) {
    let pages = Pages::new(cache);
    pages.put(1, &[2]);
    let page = Page {
        issues: vec![2],
        title: "by hand".to_owned(),
    };
    let options = Options::new().tag("pages-of:1");
    pages.cache.set("page:1:1", &page, options).await.unwrap();
    assert_eq!(pages.read(1).await.1, 1);
    assert_eq!(pages.read(1).await.1, 2);
    assert_eq!(pages.read(1).await.1, 2);
    // By hand, the entry is read whatever its tags, while they are valid.
    let read = pages.cache.get::<Page>("page:1:1").await.unwrap();
    assert_eq!(read.unwrap().title, "0");
    let read = pages.cache.get_many::<Page>(["page:1:1"]).await.unwrap();
    assert_eq!(read[0].as_ref().unwrap().title, "0");
    pages.cache.invalidate([IssueTag(2)]).await.unwrap();
    let read = pages.cache.get::<Page>("page:1:1").await.unwrap();
    assert_eq!(read, None);
}

struct Fenced {
    pages: Arc<Pages>,
    inside: Notify,
    may_end: Notify,
}

impl Fenced {
    #[cache_invalidate(IssueTag(issue), fence = "30s", cache = self.pages.cache)]
    async fn change(&self, issue: u64) {
        let _ = issue;
        self.inside.notify_one();
        self.may_end.notified().await;
        self.pages.database.title.fetch_add(1, SeqCst);
    }
}

async fn nothing_is_stored_behind_a_fence_around_a_tag_of_the_value(cache: Cache) {
    let fenced = Arc::new(Fenced {
        pages: Pages::new(cache),
        inside: Notify::new(),
        may_end: Notify::new(),
    });
    let pages = &fenced.pages;
    pages.put(1, &[2]);
    pages.read(1).await;
    pages.read(1).await;
    let writer = tokio::spawn({
        let fenced = fenced.clone();
        async move { fenced.change(2).await }
    });
    fenced.inside.notified().await;
    for loads in [3, 4] {
        assert_eq!(pages.read(1).await.1, loads);
    }
    fenced.may_end.notify_one();
    writer.await.unwrap();
    let page = pages.page(1, 1).await.unwrap().unwrap();
    assert_eq!((page.title.as_str(), pages.loads()), ("1", 5));
    assert_eq!(pages.read(1).await.1, 5);
}

#[cached(
    key = "odd:<n>",
    invalidate_on = |names: &Vec<String>| names.iter().map(String::as_str),
    skip(cache, names),
    cache = cache,
)]
async fn odd(cache: &Cache, n: u32, names: &[String]) -> Vec<String> {
    let _ = n;
    names.to_vec()
}

/// Why values were not stored.
fn reasons(builder: CacheBuilder) -> (Cache, Arc<Mutex<Vec<String>>>) {
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let told = reasons.clone();
    let builder = builder.on_event(move |event| {
        if let Event::NotFilled { why, .. } = event {
            let failed = matches!(why, NotFilledReason::Failed(_));
            told.lock().unwrap().push(format!("{failed}: {why}"));
        }
    });
    (builder.build().unwrap(), reasons)
}

async fn an_invalid_tag_keeps_a_value_from_being_stored(builder: CacheBuilder) {
    let (cache, reasons) = reasons(builder);
    let names = ["a".to_owned(), String::new()];
    for _ in 0..3 {
        assert_eq!(odd(&cache, 1, &names).await, names);
    }
    assert_eq!(counts(&cache), [0, 3, 3]);
    let reasons = reasons.lock().unwrap();
    assert_eq!(reasons.len(), 3);
    let is_told = |reason: &String| reason.starts_with("true: a cache key is empty");
    assert!(reasons.iter().all(is_told), "{reasons:?}");
}

async fn too_many_tags_keep_a_value_from_being_stored(builder: CacheBuilder) {
    let (cache, reasons) = reasons(builder);
    let names: Vec<String> = (0..1_001).map(|n| format!("name:{n}")).collect();
    for _ in 0..2 {
        assert_eq!(odd(&cache, 1, &names).await, names);
    }
    assert_eq!(counts(&cache), [0, 2, 2]);
    let is_told = |reason: &String| reason.starts_with("true: ") && reason.contains("1001 tags");
    assert!(reasons.lock().unwrap().iter().all(is_told), "{reasons:?}");
    // As many as there may be.
    for _ in 0..3 {
        assert_eq!(odd(&cache, 1, &names[1..]).await, &names[1..]);
    }
    assert_eq!(counts(&cache), [1, 4, 4]);
    cache.invalidate(["name:1000"]).await.unwrap();
    odd(&cache, 1, &names[1..]).await;
    odd(&cache, 1, &names[1..]).await;
    assert_eq!(counts(&cache), [2, 5, 5]);
}

async fn long_tags_invalidate_as_others_do(cache: Cache) {
    let long = "x".repeat(Key::MAX_LEN + 1);
    let names = [long.clone(), "b".to_owned(), long.clone() + "y"];
    for _ in 0..3 {
        assert_eq!(odd(&cache, 1, &names).await, names);
    }
    assert_eq!(counts(&cache), [1, 2, 2]);
    for name in &names {
        let before = counts(&cache);
        cache.invalidate([name.as_str()]).await.unwrap();
        odd(&cache, 1, &names).await;
        odd(&cache, 1, &names).await;
        let [hits, misses, loads] = before;
        assert_eq!(counts(&cache), [hits + 1, misses + 1, loads + 1]);
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Team {
    id: u64,
    members: Vec<u64>,
}

#[cached(
    key = "team:<id>",
    invalidate_on = [
        |team| team.members.iter().map(|member| key!("member:<member>")),
        |team| Some(format!("team:{}:of:{tenant}", team.id)),
        "teams",
        |_| [IssueTag(1)],
    ],
    skip(cache, tenant),
    cache = cache,
)]
async fn team(cache: &Cache, id: u64, tenant: u64) -> Team {
    Team {
        id,
        members: vec![4, 5],
    }
}

async fn tags_may_be_keys_and_strings_and_come_from_several_closures(cache: Cache) {
    let read = async || {
        team(&cache, 7, 2).await;
        counts(&cache)[2]
    };
    assert_eq!([read().await, read().await, read().await], [1, 2, 2]);
    let tags = ["member:4", "member:5", "team:7:of:2", "teams", "issue:1"];
    for (tag, loads) in tags.into_iter().zip(3..) {
        cache.invalidate([tag]).await.unwrap();
        assert_eq!([read().await, read().await], [loads, loads], "{tag}");
    }
    cache.invalidate(["member:6"]).await.unwrap();
    assert_eq!(read().await, 7);
}

#[derive(Clone)]
struct Detached {
    cache: Cache,
}

impl Detached {
    #[cached(
        key = "detached:<name>",
        ttl = |list| Duration::from_secs(list.len() as u64),
        invalidate_on = |list| list.clone(),
        detach,
        cache = self.cache,
    )]
    async fn list(&self, name: &str) -> Result<Vec<String>, String> {
        Ok(vec![name.to_owned(), "x".to_owned()])
    }
}

async fn a_load_in_a_task_tells_tags_too(cache: Cache) {
    let detached = Detached { cache };
    for _ in 0..3 {
        detached.list("a").await.unwrap();
    }
    assert_eq!(counts(&detached.cache), [1, 2, 2]);
    detached.cache.invalidate(["x"]).await.unwrap();
    detached.list("a").await.unwrap();
    assert_eq!(counts(&detached.cache), [1, 3, 3]);
}

#[cached(key = "future:<n>", invalidate_on = |n| [IssueTag(*n)], skip(cache), cache = cache)]
fn future(cache: Cache, n: u64) -> impl Future<Output = u64> + Send {
    async move { n }
}

async fn a_future_that_is_returned_tells_tags_too(cache: Cache) {
    for _ in 0..3 {
        assert_eq!(future(cache.clone(), 3).await, 3);
    }
    assert_eq!(counts(&cache), [1, 2, 2]);
    cache.invalidate([IssueTag(3)]).await.unwrap();
    future(cache.clone(), 3).await;
    assert_eq!(counts(&cache), [1, 3, 3]);
}

/// Two caches on one server are as two processes. In the process, they have nothing in common.
async fn another_cache_learns_the_tags_from_the_entry(builder: CacheBuilder) {
    let caches = [(); 2].map(|()| builder.clone().build().unwrap());
    let [one, other] = caches.map(Pages::new);
    if super::is_in_process(&one.cache) {
        return;
    }
    for pages in [&one, &other] {
        pages.put(1, &[2, 3]);
    }
    one.read(1).await;
    // What the slot remembers is enough for the load of another process.
    assert_eq!(other.read(1).await.1, 1);
    assert_eq!((one.read(1).await.1, other.read(1).await.1), (1, 1));
    other.change(3).await;
    assert_eq!(one.read(1).await.1, 2);
    assert_eq!((one.read(1).await.1, other.read(1).await.1), (2, 1));
    // The value has other tags, which only one of them knows.
    for pages in [&one, &other] {
        pages.put(1, &[3, 4]);
    }
    one.change(2).await;
    one.read(1).await;
    assert_eq!(one.read(1).await.1, 4);
    assert_eq!(other.read(1).await.1, 1);
    one.change(4).await;
    assert_eq!(other.read(1).await.1, 2);
}

async fn an_entry_that_remembers_is_no_entry(cache: Cache) {
    let pages = Pages::new(cache);
    pages.put(1, &[2]);
    pages.read(1).await;
    let entry = CachedEntry::of(pages.page(1, 1)).unwrap();
    assert!(!entry.exists().await.unwrap());
    assert_eq!(entry.ttl().await.unwrap(), None);
    let cache = &pages.cache;
    assert_eq!(cache.get::<Page>("page:1:1").await.unwrap(), None);
    assert_eq!(cache.ttl("page:1:1").await.unwrap(), None);
    assert_eq!(cache.get_many::<Page>(["page:1:1"]).await.unwrap(), [None]);
    cache.delete("page:1:1").await.unwrap();
    assert_eq!(pages.read(1).await.1, 2);
    assert_eq!(pages.read(1).await.1, 2);
    cache.clear().await.unwrap();
    assert_eq!(pages.read(1).await.1, 3);
    assert_eq!(pages.read(1).await.1, 3);
}

#[cached(
    key = "schema:<n>",
    version = 2,
    codec = cache_runtime::Codec::JSON,
    invalidate_on = |n| [IssueTag(*n)],
    skip(cache),
    cache = cache,
)]
async fn newer(cache: &Cache, n: u64) -> u64 {
    n
}

#[cached(key = "schema:<n>", invalidate_on = |n| [IssueTag(*n)], skip(cache), cache = cache)]
async fn older(cache: &Cache, n: u64) -> u64 {
    n
}

async fn a_schema_version_and_a_codec_go_with_it(cache: Cache) {
    for _ in 0..3 {
        newer(&cache, 1).await;
    }
    assert_eq!(counts(&cache), [1, 2, 2]);
    older(&cache, 1).await;
    assert_eq!(counts(&cache), [1, 3, 3]);
    newer(&cache, 1).await;
    assert_eq!(counts(&cache), [2, 3, 3]);
    cache.invalidate([IssueTag(1)]).await.unwrap();
    newer(&cache, 1).await;
    newer(&cache, 1).await;
    assert_eq!(counts(&cache), [3, 4, 4]);
}

#[tokio::test]
async fn a_hit_is_one_round_trip_and_two_where_the_entry_has_other_tags() {
    let server = RedisServer::start();
    let caches = [(); 2].map(|()| super::builder(&server.url()).build().unwrap());
    let [one, other] = caches.map(Pages::new);
    for pages in [&one, &other] {
        pages.put(1, &[2, 3]);
    }
    one.read(1).await;
    one.read(1).await;
    let asked = async |pages: &Arc<Pages>| {
        let (before, loads) = (server.commands_processed(), pages.loads());
        pages.read(1).await;
        assert_eq!(pages.loads(), loads, "a hit");
        server.commands_processed() - before
    };
    assert_eq!(asked(&one).await, 1);
    // The connection is made before.
    other.cache.ping().await.unwrap();
    assert_eq!([asked(&other).await, asked(&other).await], [2, 1]);
    one.put(1, &[3]);
    one.change(2).await;
    one.read(1).await;
    assert_eq!(asked(&one).await, 1);
    assert_eq!([asked(&other).await, asked(&other).await], [2, 1]);
    // A miss is three round trips, as it is with tags that are known.
    one.change(3).await;
    let evals = server.calls("eval");
    one.read(1).await;
    assert_eq!(
        server.calls("eval") - evals,
        4,
        "the lease, two versions, the fill"
    );
    assert_eq!(one.read(1).await, (Some(vec![3]), 4));
}
