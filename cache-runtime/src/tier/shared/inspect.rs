//! What a server holds under a name, for people; and an entry's value that is replaced by hand.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::entry::{Encoded, Entry, Slot, ToldTags, Version};
use super::look::ServerLook;
use crate::codec::Payload;
use crate::driver::{Operation, Reply};
use crate::error::Error;
use crate::inspection::{
    FailedLoad, Holds, Inspection, ShownValue, StoredEntry, StoredTag, TagVersion, Verdict,
};
use crate::key::Key;
use crate::tier::{Filled, Query};
use crate::type_name::{self, ValueType};

impl Shared {
    /// What a server holds under a name. Nothing is written, and nothing is counted.
    ///
    /// What could not be invalidated is read from the journal before the slot, and once more in the end, as
    /// for a call: see [`Heard`](super::journal::Heard).
    pub(super) async fn inspect_name(&self, key: &Key) -> Result<Inspection, Error> {
        let heard = self.connector.journal.heard();
        // The name's own version is read with its slot, as that of a tag.
        let mut look = self
            .look_at_server(key, std::slice::from_ref(key), None)
            .await?;
        let as_tag = look.versions.first().copied().unwrap_or(Version::Absent);
        look.versions = Arc::from([]);
        look.witness = look.witness.of_slot();
        let (failed, left) = self.marks(key).await?;
        let slot = std::mem::replace(&mut look.slot, Slot::Absent);
        let mut inspection = match slot {
            Slot::Entry(entry) if !entry.is_of(key) => {
                Inspection::without_entry(key.as_str(), Holds::Nothing, &Verdict::OtherName)
            }
            Slot::Entry(entry) => {
                let tags: Vec<Key> = entry.tags().map(|(tag, _)| Key::from(tag)).collect();
                let until = self.connector.deadline_from(None);
                self.read_tags_of(key, &tags, &mut look, until).await?;
                inspect_entry(key, &entry, &look, left)
            }
            Slot::Lease(token) => {
                let verdict = if look.is_of_another_server(token) {
                    Verdict::DeadLease
                } else if token.owner == self.owner.here() {
                    Verdict::LoadsHere
                } else {
                    Verdict::LoadsElsewhere
                };
                Inspection::without_entry(key.as_str(), Holds::Lease, &verdict)
            }
            Slot::Fence => Inspection::without_entry(key.as_str(), Holds::Fence, &Verdict::Fenced),
            Slot::Unreadable(_) => {
                Inspection::without_entry(key.as_str(), Holds::Unreadable, &Verdict::Unreadable)
            }
            Slot::Absent => {
                Inspection::without_entry(key.as_str(), Holds::Nothing, &Verdict::Nothing)
            }
        };
        inspection.as_tag = Some(shown(as_tag));
        inspection.failed = failed;
        let tags = inspection.entry.iter().flat_map(|entry| &entry.tags);
        let names = std::iter::once(key.clone()).chain(tags.map(|tag| Key::from(tag.name.clone())));
        let waiting = names
            .into_iter()
            .find(|name| self.connector.journal.distrusts_since(heard, name, &[]));
        if let Some(name) = waiting {
            inspection.would_be_served = false;
            inspection.why = Verdict::Waits(name.as_str().to_owned()).to_string();
        }
        Ok(inspection)
    }

    /// The mark of a load that failed, and how long the slot still lives.
    async fn marks(&self, key: &Key) -> Result<(Option<FailedLoad>, Option<Duration>), Error> {
        let lock = self.keyspace.lock(key);
        let slot = self.keyspace.slot(key);
        let read = vec![
            Operation::Read { key: lock.clone() },
            Operation::Remaining { key: lock },
            Operation::Remaining { key: slot },
        ];
        let (_, replies) = self.connector.run(read).await?;
        let mut replies = replies.into_iter();
        let mark = replies.next().and_then(|reply| match reply {
            Reply::List(values) => values.into_iter().next().and_then(Reply::bytes),
            reply => reply.bytes(),
        });
        let mut left = || match replies.next() {
            Some(Reply::Number(left)) => u64::try_from(left).ok().map(Duration::from_millis),
            _ => None,
        };
        let (again_in, left) = (left(), left());
        let failed = |is_excused| {
            Some(FailedLoad {
                again_in,
                is_excused,
            })
        };
        let failed = match mark.as_deref() {
            Some(b"failed") => failed(true),
            Some(b"refused") => failed(false),
            _ => None,
        };
        Ok((failed, left))
    }

    /// Replaces the value of a name by JSON. What its entry says of tags, schema version and type stays, so
    /// that the calls which were served the old value are served this one. Where there is no entry,
    /// it has these tags.
    pub(super) async fn replace_value(
        &self,
        key: &Key,
        payload: Payload,
        tags: &[Key],
        ttl: Duration,
    ) -> Result<Filled, Error> {
        let look = self.look_at_server(key, &[], None).await?;
        let mut query = Query::by_hand(key.clone(), tags.to_vec(), ttl);
        if let Slot::Entry(entry) = &look.slot
            && entry.is_of(key)
        {
            if !entry.header.form.is_of_serde() {
                let reason = "its value is bytes, which are not written as JSON";
                return Err(Error::codec(key.as_str(), "replaced", &reason));
            }
            query.tags = entry.tags().map(|(tag, _)| Key::from(tag)).collect();
            query.learns_tags = entry.header.told != ToldTags::No;
            query.schema = entry.header.schema;
            query.value_type = ValueType::known_by(entry.header.value_type);
        }
        Box::pin(self.write(&query, &Encoded::Value(payload), ttl)).await
    }
}

/// An entry, and whether it would be served. `left` is how long its slot still lives.
fn inspect_entry(
    key: &Key,
    entry: &Entry,
    look: &ServerLook,
    left: Option<Duration>,
) -> Inspection {
    let header = &entry.header;
    let now = look.witness.now();
    let remaining = if header.outlives {
        Some(entry.left(now))
    } else {
        left
    };
    let verdict = verdict(entry, look, remaining);
    let tags = entry.tags().zip(&*look.versions);
    let tags = tags.map(|((name, stored), now)| StoredTag {
        name: name.to_owned(),
        stored,
        now: shown(*now),
        is_valid: *now == Version::Number(stored),
    });
    let value = if header.none {
        ShownValue::None
    } else if entry.only_remembers() {
        ShownValue::Hidden {
            why: verdict.to_string(),
        }
    } else {
        header.form.show(entry.payload())
    };
    let mut inspection = Inspection::without_entry(key.as_str(), Holds::Entry, &verdict);
    inspection.entry = Some(StoredEntry {
        value,
        size: Some(entry.payload().len()),
        age: Some(entry.age(now)),
        remaining,
        load: (header.cost > 0).then(|| Duration::from_micros(header.cost.into())),
        tags: tags.collect(),
        schema: header.schema,
        value_type: type_name::name_of(header.value_type).map(str::to_owned),
    });
    inspection
}

/// Whether an entry would be served, in the order in which a reader would find out.
fn verdict(entry: &Entry, look: &ServerLook, remaining: Option<Duration>) -> Verdict {
    if entry.only_remembers() {
        return Verdict::OnlyRemembers;
    }
    for ((tag, stored), now) in entry.tags().zip(&*look.versions) {
        let tag = tag.to_owned();
        match now {
            Version::Fence => return Verdict::FencedTag(tag),
            Version::Absent => return Verdict::LostTag(tag),
            Version::Number(now) if *now != stored => return Verdict::Invalidated(tag),
            Version::Number(_) => {}
        }
    }
    if entry.header.epoch != look.witness.epoch() {
        return Verdict::OtherServer;
    }
    if entry.is_past(look.witness.now()) {
        let ttl = Duration::from_millis(entry.header.ttl);
        let by = entry.age(look.witness.now()).saturating_sub(ttl);
        return Verdict::Past { by };
    }
    Verdict::Served(remaining)
}

fn shown(version: Version) -> TagVersion {
    match version {
        Version::Number(number) => TagVersion::Number(number),
        Version::Fence => TagVersion::Fence,
        Version::Absent => TagVersion::Absent,
    }
}
