//! Several keys in few round trips: what the API by hand does with each of them singly, a step at a time
//! for all.
//!
//! The slots are read as those of concurrent callers are: the batched reads bound how many bytes are
//! under way. All versions that the entries need are read together then, after the slots. What is
//! written is sent in pipelines of a bounded size, each with a deadline of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::entry::{Encoded, Entry, Header, LeaseToken, ToldTags, Version, value_type};
use super::hold::{self, Hold, server_ttl};
use super::look::{EntryLook, ServerLook};
use super::notice::Notice;
use super::portion::{SLOTS_TOGETHER, fitting};
use super::set::SEIZE;
use super::versions::{numbers, version};
use super::witness::Witness;
use crate::driver::{Connection, Operation, Reply};
use crate::error::Error;
use crate::join;
use crate::key::{Key, on_server};
use crate::tier::{Filled, Query};

/// The most versions that are read by one command.
const VERSIONS_TOGETHER: usize = 500;

/// A value to set.
pub(super) struct Setting<'a> {
    pub(super) query: &'a Query,
    pub(super) value: Encoded,
    pub(super) ttl: Duration,
}

/// The version of a tag, and the servers that have said it.
type Versions<'a> = HashMap<&'a Key, (Version, Witness)>;

impl Shared {
    /// The entries of keys that may be served, in the order of the keys.
    pub(super) async fn look_up_many(&self, keys: &[Key]) -> Result<Vec<Option<Entry>>, Error> {
        let mut entries = Vec::with_capacity(keys.len());
        for keys in keys.chunks(SLOTS_TOGETHER) {
            entries.extend(self.look_up_some(keys).await?);
        }
        Ok(entries)
    }

    async fn look_up_some(&self, keys: &[Key]) -> Result<Vec<Option<Entry>>, Error> {
        let heard = self.connector.journal.heard();
        let looks = keys.iter().map(|key| self.look_for_entry(heard, key));
        let looked = join::all(looks).await.into_iter();
        let mut looked: Vec<Option<EntryLook>> = looked.collect::<Result<_, _>>()?;
        // Those that one server has answered: in a cluster, all of them.
        let mut groups: Vec<(Witness, Vec<usize>)> = Vec::new();
        for (at, found) in looked.iter().enumerate() {
            let Some(EntryLook { look, tags, .. }) = found else {
                continue;
            };
            if tags.is_empty() {
                continue;
            }
            let group = groups
                .iter_mut()
                .find(|(witness, _)| witness.is_answered_like(&look.witness));
            match group {
                Some((_, group)) => group.push(at),
                None => groups.push((look.witness.clone(), vec![at])),
            }
        }
        for (witness, group) in groups {
            let tags = group.iter().filter_map(|&at| looked[at].as_ref());
            let mut tags: Vec<Key> = tags.flat_map(|looked| looked.tags.clone()).collect();
            tags.sort_unstable();
            tags.dedup();
            let versions = self.versions_of(&witness, &tags).await?;
            for at in group {
                if let Some(EntryLook { look, tags, .. }) = &mut looked[at] {
                    self.add_versions(&keys[at], look, tags, &versions);
                }
            }
        }
        let entries = keys.iter().zip(looked).map(|(key, looked)| {
            let EntryLook { entry, look, tags } = looked?;
            let serves = look.serves(&entry)
                && !entry.is_past(look.witness.now())
                && !self.distrusts_since(heard, key, &tags);
            serves.then_some(entry)
        });
        Ok(entries.collect())
    }

    async fn versions_of<'a>(
        &self,
        witness: &Witness,
        tags: &'a [Key],
    ) -> Result<Versions<'a>, Error> {
        let mut all = HashMap::with_capacity(tags.len());
        for tags in tags.chunks(VERSIONS_TOGETHER) {
            let keys = self.keyspace.versions(tags);
            let until = self.connector.deadline_from(None);
            let further = self.connector.read_further(witness, keys, until);
            let (witness, values) = further.await?;
            for (at, (tag, value)) in tags.iter().zip(values).enumerate() {
                let version = Version::read(value.as_deref());
                all.insert(tag, (version, witness.at(at)));
            }
        }
        Ok(all)
    }

    /// Adds the versions of its tags to a look at a slot.
    fn add_versions(
        &self,
        key: &Key,
        look: &mut ServerLook,
        tags: &[Key],
        versions: &Versions<'_>,
    ) {
        let known = tags.iter().filter_map(|tag| versions.get(tag));
        look.versions = known.clone().map(|(version, _)| *version).collect();
        let slot = self.keyspace.slot(key);
        for (_, witness) in known {
            look.witness = self.connector.with_further(&slot, &look.witness, witness);
        }
    }

    /// Sets values, and returns what became of each. The first of them that fails ends it: the values
    /// before it, and some after it, are set by then.
    pub(super) async fn write_many(&self, settings: &[Setting<'_>]) -> Result<Vec<Filled>, Error> {
        let mut all = Vec::with_capacity(settings.len());
        let mut rest = settings;
        while !rest.is_empty() {
            let (some, others) = rest.split_at(fitting(rest, |setting| setting.value.size()));
            all.extend(self.write_some(some).await?);
            rest = others;
        }
        Ok(all)
    }

    /// As [`write`](Shared::write), for values with the same tags.
    async fn write_some(&self, settings: &[Setting<'_>]) -> Result<Vec<Filled>, Error> {
        let Some(first) = settings.first() else {
            return Ok(Vec::new());
        };
        let connector = &self.connector;
        let longest = settings.iter().map(|setting| setting.ttl).max();
        let tags = &first.query.tags;
        let mut operations = Vec::with_capacity(settings.len() + tags.len());
        let mut holds = Vec::with_capacity(settings.len());
        for Setting { query, .. } in settings {
            let slot = self.keyspace.slot(&query.key);
            let token = LeaseToken::by_hand();
            let lease = token.to_bytes();
            operations.push(Operation::script(SEIZE, slot.clone()).with([
                lease.as_slice().into(),
                server_ttl(self.lease_by_hand).into(),
            ]));
            let hold = Hold::new(connector, slot.clone(), token, self.lease_by_hand);
            holds.push((slot, hold));
        }
        operations.extend(self.read_versions(tags, longest.unwrap_or_default()));
        let (witness, replies) = connector.run_to_store(operations).await?;
        let mut replies = replies.into_iter();
        let seen: Vec<_> = replies
            .by_ref()
            .take(settings.len())
            .map(Reply::bytes)
            .collect();
        let Some(versions) = numbers(replies.map(version), &first.query.key)? else {
            // What was there goes, as every entry does whose name is fenced.
            let keys: Vec<Key> = settings
                .iter()
                .map(|setting| setting.query.key.clone())
                .collect();
            self.delete_some(&keys).await?;
            settle(&holds);
            return Ok(settings.iter().map(|_| Filled::Unstorable).collect());
        };
        let mut fills = Vec::with_capacity(settings.len());
        for (at, setting) in settings.iter().enumerate() {
            let (slot, hold) = &holds[at];
            let Some(seen) = &seen[at] else {
                // A fence stands: it has no lease.
                hold.settle();
                continue;
            };
            let Setting { query, value, ttl } = setting;
            let witness = witness.of_entry(at, settings.len());
            let entry = value.after(&Header {
                form: value.form(),
                none: value.is_none(),
                told: ToldTags::No,
                schema: query.schema,
                value_type: value_type(query),
                now: witness.now(),
                ttl: *ttl,
                outlives: query.life(*ttl) > *ttl,
                cost: Duration::ZERO,
                epoch: witness.epoch(),
                tags: &on_server(tags),
                versions: &versions,
                key: Some(&query.key),
            });
            connector.expect(slot, value.size());
            let fill = hold::fill(slot.clone(), seen, entry, query.life(*ttl));
            let notice = Notice::Entry(query.key.on_server().into_owned());
            fills.push((at, self.keyspace.publishing(fill, &notice)));
        }
        let mut filled: Vec<Filled> = settings.iter().map(|_| Filled::Unstorable).collect();
        let (places, fills): (Vec<usize>, Vec<Operation>) = fills.into_iter().unzip();
        if !fills.is_empty() {
            let replies = connector.run_over(&witness, fills).await?;
            for (at, reply) in places.into_iter().zip(replies) {
                filled[at] = match reply {
                    Reply::Number(1) => Filled::Stored(settings[at].ttl),
                    _ => Filled::Overtaken,
                };
            }
        }
        settle(&holds);
        Ok(filled)
    }

    /// Removes the entries of keys, and returns which were there.
    pub(super) async fn remove_many(&self, keys: &[Key]) -> Result<Vec<bool>, Error> {
        let mut removed = Vec::with_capacity(keys.len());
        for keys in keys.chunks(SLOTS_TOGETHER) {
            removed.extend(self.delete_some(keys).await?);
        }
        Ok(removed)
    }

    async fn delete_some(&self, keys: &[Key]) -> Result<Vec<bool>, Error> {
        let unlink = keys.iter().map(|key| self.keyspace.unlink(key));
        let (_, replies) = self.connector.run(unlink.collect()).await?;
        let removed = replies.iter().map(|reply| *reply == Reply::Number(1));
        Ok(removed.collect())
    }
}

fn settle(holds: &[(String, Hold)]) {
    for (_, hold) in holds {
        hold.settle();
    }
}

impl Witness {
    /// Whether what one entry needs and what another needs can be asked for together.
    fn is_answered_like(&self, other: &Self) -> bool {
        let connection = |witness: &Self| -> Option<*const Connection> {
            match witness {
                Self::Server(connection) if !connection.is_of_cluster() => {
                    Some(Arc::as_ptr(connection))
                }
                Self::Server(_) | Self::Nodes(_) => None,
            }
        };
        connection(self) == connection(other)
    }

    /// What answered for one of the keys that were asked for.
    fn at(&self, index: usize) -> Self {
        match self {
            Self::Server(connection) => Self::Server(connection.clone()),
            Self::Nodes(nodes) => Self::Nodes(nodes.get(index).cloned().into_iter().collect()),
        }
    }

    /// What answered for one slot, and for all versions, where so many slots come before the versions.
    fn of_entry(&self, slot: usize, slots: usize) -> Self {
        match self {
            Self::Server(connection) => Self::Server(connection.clone()),
            Self::Nodes(nodes) => {
                let versions = nodes.iter().skip(slots);
                Self::Nodes(
                    nodes
                        .get(slot)
                        .into_iter()
                        .chain(versions)
                        .cloned()
                        .collect(),
                )
            }
        }
    }
}
