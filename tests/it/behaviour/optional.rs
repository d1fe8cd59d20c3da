//! Optional columns and sets in names: what is meant to be one name is one.

use std::collections::{BTreeSet, HashSet};

use cache_runtime::{Cache, CacheTag, cache_invalidate, cached};
use uuid::Uuid;

use super::{Recorded, counts, on_every_backend};

on_every_backend! {
    an_optional_field_of_the_result_names_the_reads_of_its_value
    an_optional_value_in_a_key_is_the_value
    none_is_no_value
    a_read_of_a_set_meets_its_invalidation_by_another_set
}

const ADA: Uuid = Uuid::from_u128(1);
const GRACE: Uuid = Uuid::from_u128(2);

#[derive(CacheTag)]
#[cache_tag("assignee:<0>")]
struct Assignee(Option<Uuid>);

#[derive(Debug, Clone)]
struct Issue {
    id: i64,
    assignee: Option<Uuid>,
}

struct Issues {
    cache: Cache,
}

impl Issues {
    /// The parameter is the plain value.
    #[cached(key = "issues-of:<assignee>", ttl = 60, cache = self.cache)]
    async fn of(&self, assignee: Uuid) -> Vec<i64> {
        vec![1]
    }

    /// The parameter is optional, as in a filter.
    #[cached(
        key = "issues-where:<assignee>",
        ttl = 60,
        invalidate_on = "assigned:<assignee>",
        cache = self.cache,
    )]
    async fn filtered(&self, assignee: Option<Uuid>) -> Vec<i64> {
        vec![1]
    }

    #[cached(
        key = "count:<assignee>",
        ttl = 60,
        invalidate_on = Assignee(Some(assignee)),
        cache = self.cache,
    )]
    async fn count(&self, assignee: Uuid) -> u64 {
        1
    }

    #[cache_invalidate(
        "issues-of:<result.assignee>",
        "issues-where:<result.assignee>",
        Assignee(result.assignee),
        cache = self.cache,
    )]
    async fn close(&self, id: i64, assignee: Option<Uuid>) -> Result<Issue, String> {
        Ok(Issue { id, assignee })
    }

    /// The parameter is the plain value, for reads of an optional one.
    #[cache_invalidate("assigned:<assignee>", cache = self.cache)]
    async fn reassign(&self, assignee: &Uuid) {}

    async fn read(&self, assignee: Uuid) {
        assert_eq!(self.of(assignee).await, [1]);
        assert_eq!(self.filtered(Some(assignee)).await, [1]);
        assert_eq!(self.count(assignee).await, 1);
    }
}

async fn an_optional_field_of_the_result_names_the_reads_of_its_value(
    Recorded { cache, events }: Recorded,
) {
    let issues = Issues { cache };
    issues.read(ADA).await;
    issues.read(GRACE).await;
    assert_eq!(issues.filtered(None).await, [1]);
    assert_eq!(counts(&issues.cache), [0, 7, 7]);
    events.take();

    let closed = issues.close(1, Some(ADA)).await.unwrap();
    assert_eq!((closed.id, closed.assignee), (1, Some(ADA)));
    let invalidated = format!("invalidate issues-of:'{ADA}' issues-where:'{ADA}' assignee:'{ADA}'");
    assert_eq!(events.take(), [invalidated]);
    issues.read(ADA).await;
    assert_eq!(counts(&issues.cache), [0, 10, 10]);
    issues.read(GRACE).await;
    assert_eq!(issues.filtered(None).await, [1]);
    assert_eq!(counts(&issues.cache), [4, 10, 10]);
}

async fn an_optional_value_in_a_key_is_the_value(cache: Cache) {
    let issues = Issues { cache };
    for reads in 1..3 {
        issues.filtered(Some(ADA)).await;
        assert_eq!(counts(&issues.cache), [0, reads, reads]);
        issues.reassign(&ADA).await;
    }
}

async fn none_is_no_value(Recorded { cache, events }: Recorded) {
    let issues = Issues { cache };
    issues.read(ADA).await;
    issues.filtered(None).await;
    events.take();
    issues.close(1, None).await.unwrap();
    assert_eq!(
        events.take(),
        ["invalidate issues-of:() issues-where:() assignee:()"]
    );
    issues.read(ADA).await;
    assert_eq!(counts(&issues.cache), [3, 4, 4]);
    issues.filtered(None).await;
    assert_eq!(counts(&issues.cache), [3, 5, 5]);
}

#[cached(key = "labelled:<labels>", ttl = 60, cache = cache, skip(cache))]
async fn labelled(cache: &Cache, labels: &HashSet<String>) -> usize {
    labels.len()
}

#[cache_invalidate("labelled:<labels>", cache = cache)]
async fn relabel(cache: &Cache, labels: BTreeSet<&str>) {}

async fn a_read_of_a_set_meets_its_invalidation_by_another_set(
    Recorded { cache, events }: Recorded,
) {
    let labels = ["ui", "bug", "p1"];
    // Each set has a hasher of its own, so their orders differ.
    let set = || labels.map(str::to_owned).into_iter().collect();
    for _ in 0..4 {
        assert_eq!(labelled(&cache, &set()).await, 3);
    }
    assert_eq!(counts(&cache), [3, 1, 1]);
    events.take();
    relabel(&cache, labels.into_iter().collect()).await;
    assert_eq!(events.take(), ["invalidate labelled:('bug','p1','ui')"]);
    assert_eq!(labelled(&cache, &set()).await, 3);
    assert_eq!(counts(&cache), [3, 2, 2]);
}
