//! A value that no flight loaded, and how any value is written.

use std::time::Duration;

use super::Shared;
use super::entry::{self, Encoded, Header, LeaseToken, ToldTags, value_type};
use super::hold::{self, Hold, server_ttl};
use super::notice::Notice;
use super::versions::{numbers, version};
use crate::codec::{self, Reason};
use crate::driver::{Operation, Reply};
use crate::error::Error;
use crate::key::on_server;
use crate::tier::{Filled, Filling, Query, Store as _};
use crate::unique;

pub(super) const SEIZE: &str = include_str!("scripts/seize.lua");

impl Shared {
    /// Stores a value that no flight loaded, unless a fence stands.
    ///
    /// By two requests, the second of which replaces what the first one saw or left in the slot. So
    /// a request that arrives late, after an invalidation has returned, stores nothing: the
    /// invalidation has removed that, or has moved a version on.
    ///
    /// An entry is left in its slot, and served, until the value replaces it. In the place of
    /// anything else, the first request leaves a lease.
    pub(super) async fn write(
        &self,
        query: &Query,
        value: &Encoded,
        ttl: Duration,
    ) -> Result<Filled, Error> {
        let Query { key, tags, .. } = query;
        let connector = &self.connector;
        let slot = self.keyspace.slot(key);
        let token = LeaseToken::by_hand(unique::number());
        let seize = Operation::script(SEIZE, slot.clone()).with([
            token.to_bytes().as_slice().into(),
            server_ttl(self.lease_by_hand).into(),
        ]);
        let life = query.life(ttl);
        let read = std::iter::once(seize).chain(self.read_versions(tags, life));
        let hold = Hold::new(connector, slot.clone(), token, self.lease_by_hand);
        let (witness, replies) = connector.run_to_store(read.collect()).await?;
        let mut replies = replies.into_iter();
        let seen = replies.next().and_then(Reply::bytes);
        let Some(seen) = seen else {
            hold.settle();
            return Ok(Filled::Unstorable);
        };
        // The API by hand has no schema version, and `set` replaces any entry.
        if query.site.is_some() && entry::schema_of(&seen).is_some_and(|it| it > query.schema) {
            hold.settle();
            return Ok(Filled::Unstorable);
        }
        let Some(versions) = numbers(replies.map(version), key)? else {
            // What was there goes, as every entry does whose name is fenced.
            self.delete(key).await?;
            hold.settle();
            return Ok(Filled::Unstorable);
        };
        let entry = value.after(&Header {
            number: unique::number(),
            form: value.form(),
            none: value.is_none(),
            told: if query.learns_tags {
                ToldTags::Carried
            } else {
                ToldTags::No
            },
            schema: query.schema,
            value_type: value_type(query),
            now: witness.now(),
            ttl,
            outlives: life > ttl,
            cost: Duration::ZERO,
            epoch: witness.epoch(),
            tags: &on_server(tags),
            versions: &versions,
            key: Some(key),
        });
        connector.expect(&slot, value.size());
        let fill = hold::fill(slot, &seen, entry, life);
        let notice = Notice::Entry(key.on_server().into_owned());
        let fill = self.keyspace.publishing(fill, &notice);
        let replies = connector.run_over(&witness, vec![fill]).await?;
        hold.settle();
        Ok(match replies.first() {
            Some(Reply::Number(1)) => Filled::Stored(ttl),
            _ => Filled::Overtaken,
        })
    }
}

/// A value as it is to be stored. With a key that the header has to name, it may be too large.
pub(super) fn encode(query: &Query, filling: &Filling<'_>) -> Result<Encoded, Reason> {
    let encoded = filling.value.encode(filling.codec, filling.is_checked)?;
    if query.key.is_long() {
        codec::check_size(encoded.size() + query.key.bytes().len())?;
    }
    Ok(encoded)
}
