//! The basis of an entry: the versions of its tags from before its load. The entry is served only
//! while they are still the same.

use std::sync::atomic::{AtomicU64 as AtomicMoment, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;

use crate::clock::{Moment, Now};
use crate::driver::Trusts;
use crate::freshness::Age;
use crate::key::{Key, Names};
use crate::sync::{AtomicU64, Mutex, MutexGuard};
use crate::tier::Query;
use crate::unique;

/// The tags of an entry, with the versions that they had before its load began, and its schema
/// version. Most entries have neither tags nor a schema version. For those it is `None`, and
/// nothing is allocated.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Basis(Option<Arc<TagVersions>>);

#[derive(Debug)]
struct TagVersions {
    /// The schema version. With [`HAS_LIFE`], it is that of no call: an entry whose age matters is looked
    /// at by those functions only that ask for its age.
    form: u64,
    /// What only some entries have, and no evidence.
    of_entry: Option<Box<OfEntry>>,
    /// Whether the tags of the value are among the tags, of a function whose values tell them. They
    /// follow those that are known before the load.
    of_value: bool,
    tags: Box<[TagVersion]>,
    /// Of a copy of what servers hold: the hash of the name of its value's type, or 0.
    value_type: u32,
    /// Of such a copy: the connections over which it was read.
    trusts: Trusts,
}

/// What is known of an entry besides what it was loaded under.
#[derive(Debug)]
struct OfEntry {
    /// How old it may be.
    life: Option<Life>,
    /// A number that no other value has which was ever stored.
    stamp: u64,
}

/// The part of a form that says that there is a [`Life`].
const HAS_LIFE: u64 = 1 << 32;

/// How old an entry may be, where that matters before it expires.
#[derive(Debug)]
pub(crate) struct Life {
    /// Milliseconds of the local tier's clock.
    created: Moment,
    /// When its ttl ends. It may be put forward.
    fresh_until: AtomicMoment,
    cost: Duration,
    /// Whether it is kept for longer than its ttl.
    outlives: bool,
}

impl Life {
    pub(super) fn new(
        created: Moment,
        fresh_until: Moment,
        cost: Duration,
        outlives: bool,
    ) -> Self {
        Self {
            created,
            fresh_until: AtomicMoment::new(fresh_until),
            cost,
            outlives,
        }
    }

    pub(super) fn age(&self, now: Moment) -> Age {
        let fresh_until = self.fresh_until.load(Ordering::Relaxed);
        Age {
            since_created: Duration::from_millis(now.saturating_sub(self.created)),
            ttl: Duration::from_millis(fresh_until.saturating_sub(self.created)),
            cost: self.cost,
        }
    }

    pub(super) fn fresh_until(&self) -> Moment {
        self.fresh_until.load(Ordering::Relaxed)
    }

    /// Ends its ttl. Returns whether it is kept nevertheless.
    pub(super) fn expire(&self, now: Moment) -> bool {
        self.fresh_until.fetch_min(now, Ordering::Relaxed);
        self.outlives
    }
}

/// Evidence has neither life nor stamp, and an entry is compared with no evidence.
impl PartialEq for TagVersions {
    fn eq(&self, other: &Self) -> bool {
        (self.form, self.of_value, &self.tags, &self.trusts)
            == (other.form, other.of_value, &other.tags, &other.trusts)
    }
}

impl TagVersions {
    // Not inlined: most entries have none.
    #[inline(never)]
    fn are_current(&self, now: Now) -> bool {
        self.trusts.hold(now) && self.tags.iter().all(TagVersion::is_current)
    }
}

#[derive(Debug, Clone)]
struct TagVersion {
    tag: Key,
    /// The tag's counter.
    current: Arc<AtomicU64>,
    /// The value of the counter before the load began.
    version: u64,
}

impl TagVersion {
    fn is_current(&self) -> bool {
        self.current.load(Ordering::Acquire) == self.version
    }
}

impl Basis {
    /// Whether no tag has been invalidated since and, of a copy, whether that is known. Each hit asks.
    #[inline]
    pub(super) fn is_current(&self, now: Now) -> bool {
        self.0.as_ref().is_none_or(|parts| parts.are_current(now))
    }

    /// Whether no tag has been invalidated since.
    pub(super) fn has_current_tags(&self) -> bool {
        self.tag_versions().iter().all(TagVersion::is_current)
    }

    /// The same basis, of a copy of such a value that was read over these connections.
    pub(crate) fn of_copy(self, value_type: u32, trusts: Trusts) -> Self {
        Self(Some(Arc::new(TagVersions {
            form: self.form(),
            of_entry: None,
            of_value: self.is_of_value(),
            tags: self.tag_versions().into(),
            value_type,
            trusts,
        })))
    }

    /// The same basis, of an entry that is served only while these hold.
    pub(crate) fn tied_to(self, trusts: &Trusts) -> Self {
        if trusts.are_none() {
            self
        } else {
            self.of_copy(0, trusts.clone())
        }
    }

    /// Whether a copy with this basis is of a value of this type.
    pub(super) fn is_of_type(&self, value_type: u32) -> bool {
        self.value_type() == value_type
    }

    fn value_type(&self) -> u32 {
        self.0.as_ref().map_or(0, |parts| parts.value_type)
    }

    /// What must hold for the entry to be served.
    pub(super) fn trusts(&self) -> &Trusts {
        self.0.as_ref().map_or(Trusts::NONE, |parts| &parts.trusts)
    }

    /// Whether an entry with this basis has the tags and the schema version that a call has. Only
    /// then may it be served to that call.
    #[expect(
        clippy::inline_always,
        reason = "where it is called, the tags' literals are known"
    )]
    #[inline(always)]
    pub(crate) fn suits<N: Names>(&self, tags: &N, schema: u32) -> bool {
        if self.0.is_none() {
            return !N::LEARNS && schema == 0 && tags.are(std::iter::empty());
        }
        self.form() == u64::from(schema)
            && (!N::LEARNS || self.is_of_value())
            && tags.are(self.tags())
    }

    /// As [`suits`](Self::suits), for a call that asks for the entry's age.
    #[inline]
    pub(crate) fn suits_at_any_age<N: Names>(&self, tags: &N, schema: u32) -> bool {
        self.schema() == schema && (!N::LEARNS || self.is_of_value()) && tags.are(self.tags())
    }

    /// How old the entry may be, where that matters before it expires.
    #[inline]
    pub(super) fn life(&self) -> Option<&Life> {
        self.0.as_ref()?.of_entry.as_ref()?.life.as_ref()
    }

    /// The same basis, of an entry that may be so old.
    pub(super) fn with(&self, life: Life) -> Self {
        Self(Some(Arc::new(TagVersions {
            form: u64::from(self.schema()) | HAS_LIFE,
            of_entry: Some(Box::new(OfEntry {
                life: Some(life),
                stamp: unique::number(),
            })),
            of_value: self.is_of_value(),
            tags: self.tag_versions().into(),
            value_type: self.value_type(),
            trusts: self.trusts().clone(),
        })))
    }

    /// As [`suits`](Self::suits), for a call whose names are rendered.
    pub(crate) fn suits_query(&self, query: &Query) -> bool {
        if self.schema() != query.schema {
            return false;
        }
        if query.learns_tags {
            let known = self.tags().take(query.tags.len());
            return self.is_of_value() && known.eq(&query.tags);
        }
        self.tags().eq(&query.tags)
    }

    /// The number of the value, if it has one.
    pub(super) fn stamp(&self) -> Option<u64> {
        Some(self.0.as_ref()?.of_entry.as_ref()?.stamp)
    }

    /// The same basis, of an entry without a life, with a number for its value.
    pub(super) fn stamped(&self) -> Self {
        Self(Some(Arc::new(TagVersions {
            form: self.form(),
            of_entry: Some(Box::new(OfEntry {
                life: None,
                stamp: unique::number(),
            })),
            of_value: self.is_of_value(),
            tags: self.tag_versions().into(),
            value_type: self.value_type(),
            trusts: self.trusts().clone(),
        })))
    }

    /// Whether the tags of the value are among its tags.
    fn is_of_value(&self) -> bool {
        self.0.as_ref().is_some_and(|parts| parts.of_value)
    }

    /// The basis of an entry with these tags, if all of them are among the tags of this one.
    pub(super) fn narrowed<'k>(&self, tags: impl Iterator<Item = &'k Key>) -> Option<Self> {
        let versions = self.tag_versions();
        let find = |tag: &Key| versions.iter().find(|version| version.tag == *tag).cloned();
        let tags = tags.map(find).collect::<Option<_>>()?;
        Some(Self(Some(Arc::new(TagVersions {
            form: self.schema().into(),
            of_entry: None,
            of_value: self.is_of_value(),
            tags,
            value_type: self.value_type(),
            trusts: self.trusts().clone(),
        }))))
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "it is the lower half")]
    pub(crate) fn schema(&self) -> u32 {
        // What is cut off says that there is a life.
        self.form() as u32
    }

    #[inline]
    fn form(&self) -> u64 {
        self.0.as_ref().map_or(0, |parts| parts.form)
    }

    #[inline]
    pub(crate) fn tags(&self) -> impl Iterator<Item = &Key> {
        self.tag_versions().iter().map(|version| &version.tag)
    }

    /// The tags, each with its version before the load began, and now.
    pub(super) fn versions(&self) -> impl Iterator<Item = (&Key, u64, u64)> {
        let now = |tag: &TagVersion| tag.current.load(Ordering::Acquire);
        let tags = self.tag_versions().iter();
        tags.map(move |tag| (&tag.tag, tag.version, now(tag)))
    }

    #[inline]
    fn tag_versions(&self) -> &[TagVersion] {
        self.0.as_ref().map_or(&[], |parts| &parts.tags)
    }
}

/// Equal means: the same counter at the same version.
impl PartialEq for TagVersion {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.current, &other.current) && self.version == other.version
    }
}

/// The counters of all tags that an entry or a load carries.
#[derive(Debug, Default)]
pub(super) struct Tags(Mutex<TagMap>);

#[derive(Debug, Default)]
struct TagMap {
    counters: HashMap<Key, Arc<AtomicU64>>,
    /// The number of counters at which those that no entry and no load carries are swept out.
    sweep_at: usize,
}

impl Tags {
    /// Reads the versions of `tags` for a load that begins now.
    pub(super) fn read(&self, tags: &[Key], schema: u32, of_value: bool) -> Basis {
        if tags.is_empty() && schema == 0 && !of_value {
            return Basis(None);
        }
        let mut map = self.lock();
        map.sweep();
        let read = |tag: &Key| {
            let current = map.counters.entry(tag.clone()).or_default().clone();
            let version = current.load(Ordering::Acquire);
            TagVersion {
                tag: tag.clone(),
                current,
                version,
            }
        };
        let tags = tags.iter().map(read).collect();
        Basis(Some(Arc::new(TagVersions {
            form: schema.into(),
            of_entry: None,
            of_value,
            tags,
            value_type: 0,
            trusts: Trusts::default(),
        })))
    }

    /// The version of a tag, if an entry or a load carries it.
    pub(super) fn current(&self, tag: &Key) -> Option<u64> {
        let map = self.lock();
        Some(map.counters.get(tag)?.load(Ordering::Acquire))
    }

    /// Counts the version of a tag up.
    pub(super) fn invalidate(&self, tag: &Key) {
        // No entry and no load carries a tag without a counter.
        if let Some(counter) = self.lock().counters.get(tag) {
            counter.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Counts the versions of some tags up.
    pub(super) fn invalidate_where(&self, is_meant: impl Fn(&Key) -> bool) {
        for (tag, counter) in &self.lock().counters {
            if is_meant(tag) {
                counter.fetch_add(1, Ordering::AcqRel);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, TagMap> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TagMap {
    /// Removes the counters that only this map holds, each time the map has doubled.
    fn sweep(&mut self) {
        if self.counters.len() < self.sweep_at {
            return;
        }
        self.counters
            .retain(|_, counter| Arc::strong_count(counter) > 1);
        self.sweep_at = (self.counters.len() * 2).max(1024);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalidating_a_tag_ends_the_entries_that_carry_it_and_no_others() {
        let tags = Tags::default();
        let basis = |names: &[&str]| {
            let names: Vec<Key> = names.iter().map(|&name| name.into()).collect();
            tags.read(&names, 0, false)
        };
        let (users, both, none) = (basis(&["users"]), basis(&["posts", "users"]), basis(&[]));
        assert_eq!(users, basis(&["users"]));
        tags.invalidate(&"posts".into());
        let is_current = |basis: &Basis| basis.is_current(Now::at(0));
        assert!(is_current(&users) && !is_current(&both) && is_current(&none));
        assert_ne!(both, basis(&["posts", "users"]));
    }

    #[test]
    fn counters_that_no_entry_carries_are_swept() {
        let tags = Tags::default();
        for i in 0..10_000 {
            drop(tags.read(&[Key::from(format!("tag:{i}"))], 0, false));
        }
        assert!(tags.lock().counters.len() <= 1024);
    }
}
