//! The versions of tags on the server: how they are read and drawn, and how long they live.

use std::time::Duration;

use super::Shared;
use super::entry::Version;
use super::hold::server_ttl;
use crate::driver::{Operation, Reply};
use crate::error::Error;
use crate::key::Key;
use crate::sabotage::{self, Rule};
use crate::tier::Query;
use crate::unique;

const VERSION: &str = include_str!("scripts/version.lua");
const EXTEND: &str = include_str!("scripts/extend.lua");

/// How much longer than its entries a version lives. The load comes between the two: the version is
/// drawn before it, and the entry is stored after it.
const VERSION_MARGIN: Duration = Duration::from_secs(600);

impl Shared {
    /// Reads the version of each tag, and draws one for each that has none.
    pub(super) fn read_versions<'a>(
        &self,
        tags: &'a [Key],
        ttl: Duration,
    ) -> impl Iterator<Item = Operation> + use<'_, 'a> {
        let lives = server_ttl(version_ttl(ttl));
        tags.iter().map(move |tag| {
            Operation::script(VERSION, self.keyspace.version(tag))
                .with([first_version().into(), lives.into()])
        })
    }

    /// Makes the versions outlive an entry with this ttl, if that is longer than was known when they
    /// were read: a ttl may depend on the value.
    pub(super) fn extend_versions(
        &self,
        query: &Query,
        tags: &[Key],
        ttl: Duration,
    ) -> Vec<Operation> {
        let life = query.life(ttl);
        if life <= query.longest_life() || !sabotage::keeps(Rule::VersionsOutlive) {
            return Vec::new();
        }
        let lives = server_ttl(version_ttl(life));
        let extend =
            |tag| Operation::script(EXTEND, self.keyspace.version(tag)).with([lives.into()]);
        tags.iter().map(extend).collect()
    }
}

/// How long a version lives, from when it was read for an entry with this ttl.
fn version_ttl(ttl: Duration) -> Duration {
    ttl.saturating_mul(2).saturating_add(VERSION_MARGIN)
}

/// 62 random bits: never the same twice, and far from the end of a signed 64-bit counter.
fn first_version() -> u64 {
    sabotage::first_version(unique::number() >> 2)
}

/// A reply to `version.lua`.
pub(super) fn version(reply: Reply) -> Version {
    Version::read(reply.bytes().as_deref())
}

/// The numbers that versions are; `None` if one of them is a fence.
pub(super) fn numbers(
    versions: impl Iterator<Item = Version>,
    key: &Key,
) -> Result<Option<Vec<u64>>, Error> {
    let versions: Vec<_> = versions.collect();
    if versions.contains(&Version::Fence) {
        return Ok(None);
    }
    let numbers: Option<Vec<_>> = versions.into_iter().map(Version::number).collect();
    numbers.map(Some).ok_or_else(|| {
        let reason = "the version of one of its tags is not a number; invalidate the tags";
        Error::codec(key.as_str(), "stored", &reason)
    })
}
