//! The floor: a map that does less than a cache must do.

use std::collections::HashMap;
use std::sync::RwLock;

use quick_cache::DefaultHashBuilder;
use std::hash::BuildHasher as _;

/// A map in 64 locked shards: no ttl, no bound, no count, no tags.
#[derive(Debug)]
pub(crate) struct ShardedMap<V> {
    shards: Vec<RwLock<HashMap<u64, V, DefaultHashBuilder>>>,
    // A fast hasher like those of the peers, not that of std.
    hasher: DefaultHashBuilder,
}

impl<V: Clone> ShardedMap<V> {
    pub(crate) fn fill(count: u64, load: impl Fn(u64) -> V) -> Self {
        let hasher = DefaultHashBuilder::default();
        let map = Self {
            shards: (0..64)
                .map(|_| RwLock::new(HashMap::with_hasher(hasher.clone())))
                .collect(),
            hasher,
        };
        for id in 0..count {
            map.shard(id)
                .write()
                .expect("no panic")
                .insert(id, load(id));
        }
        map
    }

    fn shard(&self, id: u64) -> &RwLock<HashMap<u64, V, DefaultHashBuilder>> {
        &self.shards[(self.hasher.hash_one(id) >> 32) as usize % 64]
    }

    /// Asynchronous, as the contestants are.
    pub(crate) async fn get(&self, id: u64) -> Option<V> {
        self.shard(id).read().expect("no panic").get(&id).cloned()
    }
}
