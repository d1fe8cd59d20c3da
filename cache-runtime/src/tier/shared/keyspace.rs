//! What the keys on the server are called, and the operations that need no look at them.

use std::time::Duration;

use crate::driver::{Connection, Operation, ReadKeys, Reply};
use crate::error::Error;
use crate::key::Key;
use crate::sabotage;

const UNLINK: &str = include_str!("scripts/unlink.lua");
const BUMP: &str = include_str!("scripts/bump.lua");
const WRITE_TRIAL: &str = "return redis.call('SET', KEYS[1], '', 'PX', 1)";

/// The part of a server that one namespace is.
#[derive(Debug, Clone)]
pub(crate) struct Keyspace(String);

impl Keyspace {
    pub(crate) fn new(namespace: &str) -> Self {
        Self(namespace.to_owned())
    }

    pub(crate) fn slot(&self, key: &Key) -> String {
        self.slot_in_pieces(key).concat()
    }

    pub(crate) fn version(&self, tag: &Key) -> String {
        self.version_in_pieces(tag).concat()
    }

    /// What a look asks for: the slot of a key, and then the versions of tags.
    pub(crate) fn slot_and_versions(&self, key: &Key, tags: &[Key]) -> ReadKeys {
        let versions = tags.iter().map(|tag| self.version_in_pieces(tag));
        ReadKeys::new(std::iter::once(self.slot_in_pieces(key)).chain(versions))
    }

    /// The versions of tags.
    pub(crate) fn versions(&self, tags: &[Key]) -> ReadKeys {
        ReadKeys::new(tags.iter().map(|tag| self.version_in_pieces(tag)))
    }

    fn slot_in_pieces<'a>(&'a self, key: &'a Key) -> [&'a str; 3] {
        [&self.0, ":e:", key.as_str()]
    }

    fn version_in_pieces<'a>(&'a self, tag: &'a Key) -> [&'a str; 3] {
        [&self.0, ":v:", tag.as_str()]
    }

    /// The channel on which processes tell each other what could not be invalidated.
    pub(crate) fn channel(&self) -> String {
        format!("{}:i", self.0)
    }

    /// Reads and writes a slot that no entry has, since no key is empty: whether that is allowed.
    pub(crate) fn trial(&self) -> Vec<Operation> {
        let slot = || format!("{}:e:", self.0);
        vec![
            Operation::Read { key: slot() },
            Operation::script(WRITE_TRIAL, slot()),
        ]
    }

    /// Removes what is in a slot, unless it is a fence.
    pub(crate) fn unlink(&self, key: &Key) -> Operation {
        Operation::script(UNLINK, self.slot(key))
    }

    /// Removes each name's slot, and moves its version on; fences are spared.
    pub(crate) fn invalidate(&self, names: &[Key]) -> Vec<Operation> {
        let bump = sabotage::bump_script(BUMP);
        let both = |name| {
            [
                self.unlink(name),
                Operation::script(bump, self.version(name)),
            ]
        };
        names.iter().flat_map(both).collect()
    }

    /// Tells other processes that these names could not be invalidated; all names, if there are
    /// none here.
    pub(crate) fn announce(&self, names: &[Key]) -> Operation {
        let names: Vec<&str> = names.iter().map(Key::as_str).collect();
        Operation::Publish {
            channel: self.channel(),
            message: serde_json::to_vec(&names).unwrap_or_default(),
        }
    }

    /// The names of an announcement, if it can be read.
    pub(crate) fn announced(message: &[u8]) -> Option<Vec<Key>> {
        let names: Vec<String> = serde_json::from_slice(message).ok()?;
        Some(names.into_iter().map(Key::from).collect())
    }

    /// Removes everything. A scan returns every key that is there from its beginning to
    /// its end, so no entry, lease or version from before the call survives it. Fences do:
    /// nothing is stored behind them, and their writers are still at work.
    pub(crate) async fn clear(
        &self,
        connection: &Connection,
        limit: Duration,
    ) -> Result<(), Error> {
        let mut cursor = b"0".to_vec();
        loop {
            let pattern = format!("{}:*", self.0);
            let scan = [Operation::Scan { pattern, cursor }];
            let replies = connection.run_within(&scan, limit).await?;
            let Some((next, keys)) = page(replies) else {
                let reason = "its answer to SCAN makes no sense";
                return Err(Error::unavailable(connection.address(), &reason));
            };
            if !keys.is_empty() {
                let unlink = [Operation::ScriptOnListed { text: UNLINK, keys }];
                connection.run_within(&unlink, limit).await?;
            }
            if next == b"0" {
                return Ok(());
            }
            cursor = next;
        }
    }
}

/// The next cursor and the keys of one page of a scan.
fn page(replies: Vec<Reply>) -> Option<(Vec<u8>, Vec<Vec<u8>>)> {
    let Some(Reply::List(page)) = replies.into_iter().next() else {
        return None;
    };
    let mut page = page.into_iter();
    let cursor = page.next()?.bytes()?;
    let keys = match page.next() {
        Some(Reply::List(keys)) => keys.into_iter().filter_map(Reply::bytes).collect(),
        _ => Vec::new(),
    };
    Some((cursor, keys))
}
