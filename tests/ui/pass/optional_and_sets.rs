//! Options and sets in names, also of types of the user's own, and with a hasher of the user's.
#![deny(warnings, clippy::all)]

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, HashSet};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use cache_runtime::{CacheTag, KeyPart, cache_invalidate, cached, key};

#[derive(Debug, Clone, PartialEq, Eq, Hash, KeyPart)]
struct Label(Option<String>);

#[derive(KeyPart)]
struct Filter<K> {
    parent: Option<K>,
    labels: BTreeSet<u32>,
}

#[derive(CacheTag)]
#[cache_tag("labels:<0>")]
struct Labels<'l, S>(&'l HashSet<Label, S>);

type Hashed = HashSet<Label, BuildHasherDefault<DefaultHasher>>;

#[cached(key = "by-labels:<labels>:<of>", ttl = 60, invalidate_on = Labels(&labels))]
async fn by_labels(labels: Arc<Hashed>, of: Option<Box<u64>>) -> usize {
    drop(of);
    labels.len()
}

#[cache_invalidate(Labels(labels), "by-labels:<labels>:<of>")]
async fn relabel(labels: &HashSet<Label>, of: u64) -> usize {
    labels.len() + usize::from(of > 7)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let label = || Label(Some("ui".to_owned()));
    let labels = Arc::new(Hashed::from_iter([label(), Label(None)]));
    assert_eq!(by_labels(labels, Some(Box::new(7))).await, 2);
    let cache = cache_runtime::global().unwrap();
    assert!(cache.exists("by-labels:('ui',()):7").await.unwrap());
    relabel(&HashSet::from([Label(None), label()]), 7).await;
    assert!(!cache.exists("by-labels:('ui',()):7").await.unwrap());

    let filter = Filter {
        parent: Some(Label(None)),
        labels: BTreeSet::from([9, 10]),
    };
    assert_eq!(key!("f:<filter>").as_str(), "f:((()),(10,9))");
}
