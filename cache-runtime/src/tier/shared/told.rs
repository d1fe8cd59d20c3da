//! Tags that only the loaded value tells: those of its entry, and those that are remembered for the next
//! load.

use std::collections::HashMap;

use super::Shared;
use super::lease::{Lease, LeaseSeen};
use super::versions::{numbers, version};
use crate::key::{Key, on_server};
use crate::sabotage::{self, Rule};
use crate::tier::{Evidence, Query};

/// The tags of an entry whose value has told some of them.
#[derive(Debug)]
pub(super) struct EntryTags {
    /// First those that were known before the load.
    pub(super) tags: Vec<Key>,
    /// The versions from before the load; 0 for each, where one of them was not read.
    pub(super) versions: Vec<u64>,
    /// Of the servers of the slot and of these versions.
    pub(super) epoch: u64,
    /// Whether all versions were read before the load.
    pub(super) is_covered: bool,
}

impl Shared {
    /// The tags of a value that was loaded with this evidence. They are remembered.
    pub(super) fn told(
        &self,
        query: &Query,
        told: &[Key],
        evidence: Option<&Evidence>,
    ) -> EntryTags {
        let further = Self::further(query, told);
        self.remembered.set(&query.key, &further);
        let mut tags = on_server(&query.tags).into_owned();
        tags.extend(further);
        let mut told = EntryTags {
            versions: vec![0; tags.len()],
            tags,
            epoch: 0,
            // Without evidence, no caller boards once the load has begun.
            is_covered: true,
        };
        let Some(Evidence::Shared(evidence)) = evidence else {
            return told;
        };
        let seen = &evidence.seen;
        let seen_tags = seen.tags.as_deref().unwrap_or_default();
        let places: HashMap<&Key, usize> = seen_tags.iter().zip(0..).collect();
        let places: Option<Vec<usize>> = told
            .tags
            .iter()
            .map(|tag| places.get(tag).copied())
            .collect();
        match places {
            Some(places) => {
                let version = |at: &usize| seen.versions.get(*at).copied().unwrap_or_default();
                told.versions = places.iter().map(version).collect();
                if let Some(lease) = &evidence.lease {
                    told.epoch = lease.witness.epoch_with(places.iter().copied());
                }
            }
            None => told.is_covered = !sabotage::keeps(Rule::TagsBeforeLoad),
        }
        told
    }

    /// The tags that a value told, by the names that servers know, but for those that were known before.
    fn further(query: &Query, told: &[Key]) -> Vec<Key> {
        let known = on_server(&query.tags);
        let told = on_server(told);
        let further = told.iter().filter(|tag| !known.contains(tag));
        further.cloned().collect()
    }

    /// Where the rule is taken away that the versions of a value's tags are read before its load: reads
    /// those that were not.
    pub(super) async fn read_tags_after_load(
        &self,
        query: &Query,
        lease: &Lease,
        told: Option<Box<EntryTags>>,
    ) -> Option<Box<EntryTags>> {
        let mut told = told?;
        if !sabotage::keeps(Rule::TagsBeforeLoad) && told.versions.contains(&0) {
            let read = self.read_versions(&told.tags, query.longest_life());
            let replies = self.connector.run_over(&lease.witness, read.collect());
            let versions = replies
                .await
                .and_then(|replies| numbers(replies.into_iter().map(version), &query.key));
            if let Ok(Some(versions)) = versions {
                told.versions = versions;
                told.epoch = lease.witness.epoch();
            }
        }
        Some(told)
    }

    /// The tags for which a caller is to look again that sees the lease of a load in this process: those
    /// whose versions that load began with. If its value has other tags already, those.
    pub(super) fn tags_of_flight(&self, query: &Query, seen: &LeaseSeen) -> Option<Vec<Key>> {
        let current = self.flights.lock(&query.key).current(&query.key);
        let (evidence, is_uncovered) = current?;
        let Evidence::Shared(evidence) = &*evidence else {
            return None;
        };
        if evidence.seen.mark != seen.mark {
            return None;
        }
        let known = query.tags.len();
        let tags = if is_uncovered {
            self.remembered.get(&query.key)?.to_vec()
        } else {
            evidence.seen.tags.as_ref()?.get(known..)?.to_vec()
        };
        let asked = seen.tags.as_ref()?.get(known..)?;
        (*tags != *asked).then_some(tags)
    }
}
