//! A look at the server: what it shows, what that means for a call, and whether it may be believed.

use std::sync::Arc;
use std::time::Instant;

use super::Shared;
use super::entry::{self, ANY_TYPE, Entry, LeaseToken, Mark, Slot, Source, Version, value_type};
use super::journal::Heard;
use super::lease::LeaseSeen;
use super::witness::{Looked, Witness};
use crate::error::Error;
use crate::freshness::Freshness;
use crate::key::{Key, on_server};
use crate::missed::MissReason;
use crate::observe::Event;
use crate::sabotage::{self, Rule};
use crate::tier::{Evidence, Found, Look, Miss, Query};

/// What one look at the server showed.
#[derive(Debug)]
pub(crate) struct ServerLook {
    pub(super) slot: Slot,
    /// The tags that were asked for, where only the value tells all of them; by the names that servers
    /// know.
    pub(super) tags: Option<Vec<Key>>,
    /// In the order of the tags.
    pub(super) versions: Arc<[Version]>,
    pub(super) witness: Witness,
}

/// An entry, the look that found it, and its tags.
pub(super) struct EntryLook {
    pub(super) entry: Entry,
    pub(super) look: ServerLook,
    pub(super) tags: Vec<Key>,
}

impl Shared {
    /// Whether an invalidation of one of these names has failed, and was not repeated yet. Then
    /// what the server shows may be older than that invalidation.
    ///
    /// This is checked before a look, for what failed in this process. What other processes announce
    /// meanwhile is checked after it: see [`Heard`].
    pub(super) fn distrusts(&self, key: &Key, tags: &[Key]) -> bool {
        let distrusts =
            sabotage::keeps(Rule::Distrust) && self.connector.journal.distrusts(key, tags);
        if distrusts {
            // The keeper may have died with its runtime; start another.
            self.connector.ensure_keeper();
        }
        distrusts
    }

    /// As [`distrusts`](Self::distrusts), after a look, for what was announced since, too.
    pub(super) fn distrusts_since(&self, heard: Heard, key: &Key, tags: &[Key]) -> bool {
        let journal = &self.connector.journal;
        sabotage::keeps(Rule::Distrust) && journal.distrusts_since(heard, key, tags)
    }

    /// What a call makes of the answer to its look.
    pub(super) fn looked(
        &self,
        query: &Query,
        heard: Heard,
        looked: Result<ServerLook, Error>,
        undecodable: Option<Mark>,
    ) -> Look {
        let look = match looked {
            Ok(look) => look,
            Err(error) => return self.unavailable(query, &error),
        };
        if self.distrusts_since(heard, &query.key, &query.tags) {
            return self.distrusted(query);
        }
        self.show(query, look, undecodable)
    }

    /// Reads a slot and the versions of `tags`, in one round trip, which other callers may share.
    pub(super) async fn look_at_server(
        &self,
        key: &Key,
        tags: &[Key],
        until: Option<Instant>,
    ) -> Result<ServerLook, Error> {
        let keys = self.keyspace.slot_and_versions(key, tags);
        let looked = self.connector.look(keys, until).await?;
        Ok(ServerLook::from(looked))
    }

    /// A look of a call whose function learns tags from its values: at the slot, and at the versions of the
    /// tags that are known or remembered. The entry names the tags that it carries. If those are others,
    /// their versions are read as well. `None` if one of the names is distrusted.
    pub(super) async fn look_and_learn(
        &self,
        query: &Query,
        heard: Heard,
        until: Option<Instant>,
    ) -> Result<Option<ServerLook>, Error> {
        let key = &query.key;
        let began = Instant::now();
        let mut tags = on_server(&query.tags).into_owned();
        if let Some(remembered) = self.remembered.get(key) {
            tags.extend_from_slice(&remembered);
        }
        if self.distrusts(key, &tags) {
            return Ok(None);
        }
        let mut look = self.look_at_server(key, &tags, until).await?;
        if self.distrusts_since(heard, key, &tags) {
            return Ok(None);
        }
        if let Slot::Entry(entry) = &look.slot
            && entry.is_of(key)
            && entry.suits(&query.tags, true)
            && !entry.has_tags(&tags)
        {
            tags = entry.tags().map(|(tag, _)| Key::from(tag)).collect();
            self.remembered.set(key, &tags[query.tags.len()..]);
            // After the look, and before the versions are read: a replay may end between the two.
            if self.distrusts_since(heard, key, &tags) {
                return Ok(None);
            }
            look.witness = look.witness.of_slot();
            look.versions = [].into();
            let until = until.unwrap_or_else(|| self.connector.deadline_from(Some(began)));
            self.read_tags_of(key, &tags, &mut look, until).await?;
            if self.distrusts_since(heard, key, &tags) {
                return Ok(None);
            }
        }
        look.tags = Some(tags);
        Ok(Some(look))
    }

    /// What the server shows; `None` if one of the names is distrusted.
    pub(super) async fn look_to_refresh(
        &self,
        query: &Query,
        until: Instant,
    ) -> Result<Option<ServerLook>, Error> {
        let heard = self.connector.journal.heard();
        if query.learns_tags {
            return self.look_and_learn(query, heard, Some(until)).await;
        }
        if self.distrusts(&query.key, &query.tags) {
            return Ok(None);
        }
        let looked = self.look_at_server(&query.key, &query.tags, Some(until));
        let look = looked.await?;
        let is_trusted = !self.distrusts_since(heard, &query.key, &query.tags);
        Ok(is_trusted.then_some(look))
    }

    /// Reads an entry whose ttl has not ended.
    pub(super) async fn look_up(&self, key: &Key) -> Result<Option<Entry>, Error> {
        let found = self.look_up_at_any_age(key).await?;
        Ok(found.filter(|entry| !entry.is_past(entry.seen_at)))
    }

    /// Reads an entry whose tags are known only from its header. If it has tags, their versions
    /// take another round trip. They are read after the slot, so they show each invalidation of a
    /// tag that returned before this call.
    pub(super) async fn look_up_at_any_age(&self, key: &Key) -> Result<Option<Entry>, Error> {
        let heard = self.connector.journal.heard();
        let Some(looked) = self.look_for_entry(heard, key).await? else {
            return Ok(None);
        };
        let EntryLook {
            mut entry,
            mut look,
            tags,
        } = looked;
        let until = self.connector.deadline_from(None);
        self.read_tags_of(key, &tags, &mut look, until).await?;
        let serves = look.serves(&entry) && !self.distrusts_since(heard, key, &tags);
        entry.seen_at = look.witness.now();
        Ok(serves.then_some(entry))
    }

    /// Looks for an entry whose tags are known only from its header. Their versions are not read yet.
    pub(super) async fn look_for_entry(
        &self,
        heard: Heard,
        key: &Key,
    ) -> Result<Option<EntryLook>, Error> {
        if self.distrusts(key, &[]) {
            return Ok(None);
        }
        let mut look = self.look_at_server(key, &[], None).await?;
        let Slot::Entry(entry) = std::mem::replace(&mut look.slot, Slot::Absent) else {
            return Ok(None);
        };
        if !entry.is_of(key) || entry.only_remembers() {
            return Ok(None);
        }
        let tags: Vec<Key> = entry.tags().map(|(tag, _)| Key::from(tag)).collect();
        // Again after the look, and before the versions are read.
        let is_trusted = !self.distrusts_since(heard, key, &tags);
        Ok(is_trusted.then_some(EntryLook { entry, look, tags }))
    }

    /// Reads the versions of an entry's tags, after the look at its slot, and adds them to that look.
    pub(super) async fn read_tags_of(
        &self,
        key: &Key,
        tags: &[Key],
        look: &mut ServerLook,
        until: Instant,
    ) -> Result<(), Error> {
        if tags.is_empty() {
            return Ok(());
        }
        let versions = self.keyspace.versions(tags);
        let slot = self.keyspace.slot(key);
        let further = self
            .connector
            .look_further(&slot, &look.witness, versions, until);
        let (witness, values) = further.await?;
        look.witness = witness;
        let versions = values.iter().map(|value| Version::read(value.as_deref()));
        look.versions = versions.collect();
        Ok(())
    }

    /// What a look shows a call.
    pub(super) fn show(
        &self,
        query: &Query,
        mut look: ServerLook,
        undecodable: Option<Mark>,
    ) -> Look {
        match look.slot {
            Slot::Entry(mut entry)
                if undecodable != Some(entry.mark)
                    && look.serves_to(query, &entry)
                    && (!entry.header.outlives || is_served(&look.witness, query, &entry)) =>
            {
                let now = look.witness.now();
                if query.fresh.is_some() {
                    entry.seen_at = now;
                }
                if !query.local_ttl.is_zero() {
                    entry.source = Some(Box::new(Source {
                        left: query.fresh.map_or_else(
                            || entry.left(now),
                            |it| it.undisturbed(entry.age_at(now)),
                        ),
                        trusts: self
                            .connector
                            .trusts(&look.witness)
                            .ok_or_else(|| look.witness.deaf().cloned()),
                    }));
                }
                Look::Hit(Found::Encoded(entry))
            }
            slot => {
                look.slot = slot;
                query.missed.note(look.reason_to_miss(query, undecodable));
                if let Some(value_type) = query.value_type
                    && look.shows_other_type(query)
                {
                    let name = value_type.name;
                    self.observer.other_type(query.site, &query.key, name, None);
                }
                Look::Miss(Miss::AtServer(Box::new(look)))
            }
        }
    }

    /// A look has failed.
    pub(super) fn unavailable(&self, query: &Query, error: &Error) -> Look {
        query.missed.note(MissReason::Unavailable);
        self.degrade(query, error);
        Look::Miss(Miss::Unknown)
    }

    pub(super) fn distrusted(&self, query: &Query) -> Look {
        query.missed.note(MissReason::Distrusted);
        let event = Event::Distrust { key: &query.key };
        self.observer.observe(query.site, event);
        Look::Miss(Miss::Unknown)
    }

    pub(super) fn note_unreadable(&self, query: &Query, look: &ServerLook) {
        if let Slot::Unreadable(_) = look.slot {
            let reason = "it is in no form that this version of the cache knows";
            self.degrade(query, &Error::codec(query.key.as_str(), "read", &reason));
        }
    }
}

/// Whether a valid entry that its slot keeps for longer than its ttl is served to a call.
#[cold]
fn is_served(witness: &Witness, query: &Query, entry: &Entry) -> bool {
    let freshness = query.fresh.as_ref().unwrap_or(&Freshness::NONE);
    freshness.of(entry.age_at(witness.now())).is_served()
}

impl From<Looked> for ServerLook {
    fn from(looked: Looked) -> Self {
        let mut slot = entry::decode(looked.slot);
        if let Slot::Entry(entry) = &mut slot {
            entry.shared_decode = looked.shared_decode;
        }
        Self {
            slot,
            tags: None,
            versions: looked.versions,
            witness: looked.witness,
        }
    }
}

impl ServerLook {
    /// The tags whose versions it shows.
    pub(super) fn tags<'a>(&'a self, query: &'a Query) -> &'a [Key] {
        self.tags.as_deref().unwrap_or(&query.tags)
    }

    /// Whether an entry may be served to this call.
    pub(super) fn serves_to(&self, query: &Query, entry: &Entry) -> bool {
        entry.header.schema == query.schema
            && entry.is_of(&query.key)
            && (!query.learns_tags || entry.suits(&query.tags, true))
            && self.serves(entry)
            && is_of_type(query, entry)
    }

    /// Why what it shows is not served to this call.
    fn reason_to_miss(&self, query: &Query, undecodable: Option<Mark>) -> MissReason {
        let entry = match &self.slot {
            Slot::Absent => return MissReason::Absent,
            Slot::Lease(_) => return MissReason::Loading,
            Slot::Fence => return MissReason::Fenced,
            Slot::Unreadable(_) => return MissReason::Unreadable,
            Slot::Entry(entry) => entry,
        };
        if undecodable == Some(entry.mark) {
            MissReason::Unreadable
        } else if self.is_fenced() {
            MissReason::Fenced
        } else if entry.header.schema != query.schema
            || !entry.is_of(&query.key)
            || !entry.suits(&query.tags, query.learns_tags)
            || !is_of_type(query, entry)
        {
            MissReason::Mismatched
        } else if entry.only_remembers() {
            // It has no value.
            MissReason::Absent
        } else if entry.header.epoch != self.witness.epoch() {
            MissReason::OtherServer
        } else if !self.serves(entry) {
            MissReason::Invalidated
        } else {
            MissReason::Expired
        }
    }

    /// Whether an entry is of a newer schema version, and may be valid: then this call neither is
    /// served it nor replaces it. Only an entry with this call's tags is known to be invalid.
    pub(super) fn belongs_to_newer(&self, query: &Query, entry: &Entry) -> bool {
        entry.header.schema > query.schema
            && entry.is_of(&query.key)
            && (self.serves(entry) || !entry.has_tags(self.tags(query)))
    }

    /// Whether only its type keeps the entry from being served to this call.
    fn shows_other_type(&self, query: &Query) -> bool {
        match &self.slot {
            Slot::Entry(entry) => {
                !is_of_type(query, entry)
                    && entry.header.schema == query.schema
                    && entry.is_of(&query.key)
                    && self.serves(entry)
            }
            _ => false,
        }
    }

    /// Whether an entry may be served. The version of every tag must be there, and be the one from
    /// before the load. First versions are drawn at random. So a version that was lost and drawn
    /// again is another one, and so is the version of another tag.
    pub(super) fn serves(&self, entry: &Entry) -> bool {
        let is_same = |((_, before), now): ((&str, u64), &Version)| {
            Version::Number(before) == *now
                || *now == Version::Absent && !sabotage::keeps(Rule::AbsentVersion)
        };
        entry.header.epoch == self.witness.epoch()
            && !entry.only_remembers()
            && entry.tags().len() == self.versions.len()
            && entry.tags().zip(&*self.versions).all(is_same)
    }

    /// Whether this lease was given by another server, such as one that has failed over to this one.
    /// No load fills it any more. An epoch of zero says nothing: `INFO` was not permitted.
    pub(super) fn is_of_another_server(&self, token: LeaseToken) -> bool {
        let (then, now) = (token.epoch, self.witness.slot_epoch());
        then != now && then != 0 && now != 0 && sabotage::keeps(Rule::DeadLease)
    }

    /// Whether writers are at work on the key or on one of the tags.
    pub(super) fn is_fenced(&self) -> bool {
        matches!(self.slot, Slot::Fence) || self.versions.contains(&Version::Fence)
    }

    /// The evidence of a caller that saw this lease; `None` if a version is absent.
    pub(super) fn lease_seen(&self, mark: Mark) -> Option<LeaseSeen> {
        let versions = self.versions.iter().map(|version| version.number());
        Some(LeaseSeen {
            mark,
            epoch: self.witness.epoch(),
            tags: self.tags.clone(),
            versions: versions.collect::<Option<_>>()?,
        })
    }

    /// Whether it shows the same lease as before, with the same versions.
    pub(crate) fn shows(&self, evidence: &Evidence) -> bool {
        match (&self.slot, evidence) {
            (&Slot::Lease(token), Evidence::Shared(evidence)) => {
                self.lease_seen(token.mark).as_ref() == Some(&evidence.seen)
            }
            (Slot::Entry(entry), Evidence::Shared(evidence)) => {
                self.lease_seen(entry.mark).as_ref() == Some(&evidence.seen)
            }
            _ => false,
        }
    }
}

/// Whether an entry holds a value of the type that this call asks for, as far as both say.
pub(crate) fn is_of_type(query: &Query, entry: &Entry) -> bool {
    let (one, other) = (value_type(query), entry.header.value_type);
    one == other || one == ANY_TYPE || other == ANY_TYPE || !sabotage::keeps(Rule::TypeInEntry)
}
