//! What this process holds under a name, for people.

use std::time::Duration;

use super::{Entry, Local};
use crate::inspection::{
    Holds, Inspection, ShownValue, StoredEntry, StoredTag, TagVersion, Verdict,
};
use crate::key::Key;
use crate::value::{Outcome, SharedValue, outcome};

impl Local {
    /// What is stored under a name. Nothing is changed by it: not even for what is evicted first.
    pub(super) fn inspect_name(&self, key: &Key) -> Inspection {
        let is_fenced = self.fences.stand(std::iter::once(key));
        let found = self.entries.peek(key);
        let is_loading = self.flights.lock(key).is_under_way(key);
        let mut inspection = match found {
            Some((entry, expiry)) => {
                let left = self.clock.until(expiry);
                let is_expired = !self.clock.now().is_before(expiry);
                self.inspect_entry(key, &entry, (left, is_expired), is_fenced)
            }
            None if is_fenced => {
                Inspection::without_entry(key.as_str(), Holds::Fence, &Verdict::Fenced)
            }
            None if is_loading => {
                Inspection::without_entry(key.as_str(), Holds::Lease, &Verdict::LoadsHere)
            }
            None => Inspection::without_entry(key.as_str(), Holds::Nothing, &Verdict::Nothing),
        };
        inspection.as_tag = Some(self.tag_version(key, self.tags.current(key)));
        inspection
    }

    fn inspect_entry(
        &self,
        key: &Key,
        entry: &Entry,
        (left, is_expired): (Duration, bool),
        is_fenced: bool,
    ) -> Inspection {
        let age = entry.basis.life().map(|life| life.age(self.clock.moment()));
        let remaining = age.map_or(left, |age| {
            left.min(age.ttl.saturating_sub(age.since_created))
        });
        let tags: Vec<StoredTag> = entry
            .basis
            .versions()
            .map(|(tag, stored, now)| StoredTag {
                name: tag.as_str().to_owned(),
                stored,
                now: self.tag_version(tag, Some(now)),
                is_valid: stored == now,
            })
            .collect();
        let invalid = tags.iter().find(|tag| !tag.is_valid);
        let fenced = tags.iter().find(|tag| tag.now == TagVersion::Fence);
        let verdict = match (invalid, fenced) {
            _ if is_fenced => Verdict::Fenced,
            // A fence moves the version on, too.
            (_, Some(tag)) => Verdict::FencedTag(tag.name.clone()),
            (Some(tag), None) => Verdict::Invalidated(tag.name.clone()),
            _ if is_expired => Verdict::Expired,
            _ => match age.map(|age| age.since_created.checked_sub(age.ttl)) {
                Some(Some(by)) => Verdict::Past { by },
                _ => Verdict::Served(Some(remaining)),
            },
        };
        let mut inspection = Inspection::without_entry(key.as_str(), Holds::Entry, &verdict);
        inspection.entry = Some(StoredEntry {
            value: show(&entry.value),
            size: None,
            age: age.map(|age| age.since_created),
            remaining: Some(remaining),
            load: age.map(|age| age.cost).filter(|cost| !cost.is_zero()),
            tags,
            schema: entry.basis.schema(),
            value_type: None,
        });
        inspection
    }

    fn tag_version(&self, tag: &Key, version: Option<u64>) -> TagVersion {
        if self.fences.stand(std::iter::once(tag)) {
            return TagVersion::Fence;
        }
        version.map_or(TagVersion::Absent, TagVersion::Number)
    }
}

/// A Rust value, if it is of a type that many programs set by hand. Any other type is known only to the
/// function that reads it.
fn show(value: &SharedValue) -> ShownValue {
    macro_rules! as_json {
        ($($type:ty),*) => {
            $(match outcome::<$type>(value) {
                Some(Outcome::Value(value)) => {
                    if let Ok(text) = serde_json::to_string_pretty(&value) {
                        return ShownValue::Json { text, stored_as: "a Rust value".to_owned() };
                    }
                }
                Some(Outcome::None) => return ShownValue::None,
                None => {}
            })*
        };
    }
    as_json!(
        String,
        serde_json::Value,
        bool,
        u8,
        u16,
        u32,
        u64,
        u128,
        usize,
        i8,
        i16,
        i32,
        i64,
        i128,
        isize,
        f32,
        f64,
        Vec<String>,
        ()
    );
    ShownValue::Hidden {
        why: "it is a Rust value in this process, and only a program that names its type can read it: \
              `cache.entry::<T>(key)`. On a server it would be shown."
            .to_owned(),
    }
}
