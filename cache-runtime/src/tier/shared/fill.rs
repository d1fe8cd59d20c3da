//! An entry in the place of the lease under which its value was loaded, or of the entry that a refresh
//! replaces.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::entry::{Encoded, Header, ToldTags, value_type};
use super::lease::Lease;
use super::set::encode;
use super::told::EntryTags;
use crate::codec::Reason;
use crate::driver::{Operation, Reply};
use crate::error::Error;
use crate::flight::{Claim, Leader};
use crate::key::on_server;
use crate::tier::{Evidence, Filled, Filling, Query};
use crate::unique;

/// A value that the callers that wait for its load were handed, and that is to be stored.
pub(super) struct Landed {
    /// Where the function learns tags from its values.
    pub(super) told: Option<Box<EntryTags>>,
    /// It has a lease.
    pub(super) evidence: Arc<Evidence>,
    pub(super) leader: Leader<Evidence>,
}

impl Shared {
    /// Hands a value to the callers that wait for its load. If it is not to be stored, returns what became
    /// of it.
    pub(super) fn land(
        &self,
        query: &Query,
        mut leader: Leader<Evidence>,
        filling: &Filling<'_>,
    ) -> Result<Landed, Filled> {
        let evidence = leader.evidence();
        // Before others wake and look again: it remembers the tags.
        let told = query
            .learns_tags
            .then(|| Box::new(self.told(query, filling.tags, evidence.as_deref())));
        let is_covered = told.as_ref().is_none_or(|told| told.is_covered);
        match leader.claim() {
            Claim::Superseded => return Err(Filled::Superseded),
            Claim::Shared => leader.land(filling.value.share(), is_covered),
            Claim::Unshared => {}
        }
        let Some(evidence) = evidence.filter(|it| it.lease().is_some()) else {
            leader.finish();
            return Err(Filled::Unstorable);
        };
        Ok(Landed {
            told,
            evidence,
            leader,
        })
    }
}

impl Landed {
    /// The value as it is to be stored: without its payload, if the versions of its tags were not read
    /// before its load.
    pub(super) fn encode(&self, query: &Query, filling: &Filling<'_>) -> Result<Encoded, Reason> {
        if self.told.as_ref().is_none_or(|told| told.is_covered) {
            encode(query, filling)
        } else {
            Ok(Encoded::None)
        }
    }
}

/// Stores an outcome in the place of the lease, or gives the lease back. With the ttl come the
/// operations that make the versions outlive it.
pub(super) async fn fill(
    lease: &Lease,
    query: &Query,
    encoded: Result<Encoded, Reason>,
    told: Option<&EntryTags>,
    ttl: Option<(Duration, Vec<Operation>)>,
    cost: Duration,
) -> Filled {
    let (Some((ttl, extend)), Ok(value)) = (ttl, &encoded) else {
        lease.hold.release().await;
        return match encoded {
            Ok(_) => Filled::Unwanted,
            Err(reason) => Filled::Failed(Error::unstorable(query.key.as_str(), &reason)),
        };
    };
    match lease.fill(extend, query, value, told, ttl, cost).await {
        Ok(true) if told.is_some_and(|told| !told.is_covered) => Filled::NewTags,
        Ok(true) => Filled::Stored(ttl),
        Ok(false) => Filled::Overtaken,
        Err(error) => Filled::Failed(error),
    }
}

impl Lease {
    /// Runs `first`, and replaces the lease by an entry; false if the slot no longer holds it. With what
    /// the value has told, the entry has those tags.
    async fn fill(
        &self,
        first: Vec<Operation>,
        query: &Query,
        value: &Encoded,
        told: Option<&EntryTags>,
        ttl: Duration,
        cost: Duration,
    ) -> Result<bool, Error> {
        let mut operations = first;
        operations.push(self.filling(query, value, told, ttl, cost));
        let connector = &self.hold.connector;
        let replies = connector.run_over(&self.witness, operations).await?;
        self.hold.settle();
        Ok(replies.last() == Some(&Reply::Number(1)))
    }

    /// What replaces the lease by an entry.
    fn filling(
        &self,
        query: &Query,
        value: &Encoded,
        told: Option<&EntryTags>,
        ttl: Duration,
        cost: Duration,
    ) -> Operation {
        let entry = self.entry(query, value, told, cost, ttl, unique::number());
        self.hold.filling(&query.key, entry, query.life(ttl))
    }

    /// The entry that replaces the lease.
    pub(super) fn entry(
        &self,
        query: &Query,
        value: &Encoded,
        told: Option<&EntryTags>,
        cost: Duration,
        ttl: Duration,
        number: u64,
    ) -> Vec<u8> {
        let (tags, versions) = match told {
            None => (&self.tags, &self.versions),
            Some(told) => (&told.tags, &told.versions),
        };
        value.after(&Header {
            number,
            form: value.form(),
            none: value.is_none(),
            told: match told {
                None => ToldTags::No,
                Some(told) if told.is_covered => ToldTags::Carried,
                Some(_) => ToldTags::Remembered,
            },
            schema: query.schema,
            value_type: value_type(query),
            now: self.witness.now(),
            ttl,
            outlives: query.life(ttl) > ttl,
            cost,
            epoch: told.map_or_else(|| self.witness.epoch(), |told| told.epoch),
            tags: &on_server(tags),
            versions,
            key: Some(&query.key),
        })
    }
}
