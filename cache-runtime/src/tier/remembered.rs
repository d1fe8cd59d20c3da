//! The tags that the values of keys last had, of functions whose values tell them.
//!
//! What is remembered is a guess, and no promise depends on it. It says which versions are read before
//! the next load. If the value has other tags by then, it is loaded once more.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, PoisonError};

use crate::error::Error;
use crate::key::Key;
use crate::sync::Mutex;

/// The most tags that one value may have: each look at a server asks for the versions of all of them.
const MOST_TAGS: usize = 1_000;

/// The most bytes that the tags of one value may have together, as they are called on a server.
const MOST_BYTES: usize = 64 * 1024;

/// About so many bytes has each of the two generations.
const ROOM: usize = 4 << 20;

/// What an entry in the map takes besides its text.
const OVERHEAD: usize = 64;

/// Which tags the values of keys last had. It has a bounded size: of two generations, the older one is
/// dropped when the younger one is full. What is asked for stays in the younger one.
#[derive(Debug, Default)]
pub(super) struct Remembered(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Key, Arc<[Key]>>,
    old: HashMap<Key, Arc<[Key]>>,
    /// About so many bytes the young one has.
    bytes: usize,
}

impl Remembered {
    /// The tags of a key's value, as far as they are known.
    pub(super) fn get(&self, key: &Key) -> Option<Arc<[Key]>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tags) = all.young.get(key) {
            return Some(tags.clone());
        }
        let (key, tags) = all.old.remove_entry(key)?;
        let dropped = all.insert(key, tags.clone());
        drop(all);
        drop(dropped);
        Some(tags)
    }

    /// Keeps in mind which tags the value of a key has.
    pub(super) fn set(&self, key: &Key, tags: &[Key]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.young.get(key)
            && **known == *tags
        {
            return;
        }
        all.old.remove(key);
        if let Some(known) = all.young.remove(key) {
            all.bytes = all.bytes.saturating_sub(size(key, &known));
        }
        if !tags.is_empty() && check(key, tags).is_ok() {
            let dropped = all.insert(key.clone(), tags.into());
            drop(all);
            drop(dropped);
        }
    }
}

impl Generations {
    /// Returns what is not remembered any more, to be dropped after the lock.
    fn insert(&mut self, key: Key, tags: Arc<[Key]>) -> HashMap<Key, Arc<[Key]>> {
        let mut dropped = HashMap::new();
        let size = size(&key, &tags);
        if self.bytes + size > ROOM {
            dropped = mem::replace(&mut self.old, mem::take(&mut self.young));
            self.bytes = 0;
        }
        self.bytes += size;
        self.young.insert(key, tags);
        dropped
    }
}

fn size(key: &Key, tags: &[Key]) -> usize {
    let tags = tags.iter().map(|tag| OVERHEAD + tag.bytes().len());
    OVERHEAD + key.bytes().len() + tags.sum::<usize>()
}

/// Checks that a value may have these tags.
pub(crate) fn check(key: &Key, tags: &[Key]) -> Result<(), Error> {
    tags.iter().try_for_each(Key::check)?;
    let bytes: usize = tags.iter().map(|tag| tag.on_server().bytes().len()).sum();
    if tags.len() <= MOST_TAGS && bytes <= MOST_BYTES {
        return Ok(());
    }
    let count = tags.len();
    let reason = format!(
        "it has {count} tags of {bytes} bytes, and {MOST_TAGS} tags of {MOST_BYTES} bytes are the most; give it \
         one tag that stands for many"
    );
    Err(Error::codec(key.as_str(), "stored", &reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(names: &[&str]) -> Vec<Key> {
        names.iter().map(|name| Key::from(*name)).collect()
    }

    #[test]
    fn the_last_tags_of_a_key_are_remembered() {
        let remembered = Remembered::default();
        let key = Key::from("page:1");
        assert_eq!(remembered.get(&key), None);
        for names in [tags(&["a", "b"]), tags(&["a"])] {
            remembered.set(&key, &names);
            assert_eq!(remembered.get(&key).as_deref(), Some(&*names));
        }
        remembered.set(&key, &[]);
        assert_eq!(remembered.get(&key), None);
        assert_eq!(remembered.0.lock().unwrap().bytes, 0);
    }

    #[test]
    fn it_has_a_bounded_size_and_keeps_what_is_asked_for() {
        let remembered = Remembered::default();
        let hot = Key::from("hot");
        remembered.set(&hot, &tags(&["a"]));
        for i in 0..100_000 {
            remembered.set(&Key::from(format!("page:{i}")), &tags(&["a", "b"]));
            if i % 1_000 == 0 {
                assert!(remembered.get(&hot).is_some(), "{i}");
            }
        }
        let all = remembered.0.lock().unwrap();
        let kept = all.young.iter().chain(&all.old);
        let bytes: usize = kept.map(|(key, tags)| size(key, tags)).sum();
        assert!(bytes <= 2 * ROOM, "{bytes}");
        assert!(all.old.len() > 10_000);
    }

    #[test]
    fn too_many_tags_are_neither_remembered_nor_stored() {
        let remembered = Remembered::default();
        let key = Key::from("page:1");
        let many: Vec<Key> = (0..=MOST_TAGS).map(|i| Key::from(i.to_string())).collect();
        let long = [Key::from("x".repeat(Key::MAX_LEN)); 1];
        let long: Vec<Key> = long.iter().cycle().take(9).cloned().collect();
        for tags in [&*many, &long, &tags(&[""])] {
            check(&key, tags).unwrap_err();
            remembered.set(&key, tags);
            assert_eq!(remembered.get(&key), None);
        }
        check(&key, &many[1..]).unwrap();
    }
}
