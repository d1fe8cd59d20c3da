//! What the keys on the server are called, and what is done to them without looking at them.

use std::time::Duration;

use redis::{Pipeline, Value};

use super::connection::{Connection, bytes, commands, script};
use super::gather::Wanted;
use crate::error::Error;
use crate::key::Key;
use crate::sabotage::{self, Rule};

pub(super) const UNLINK: &str = include_str!("unlink.lua");
const BUMP: &str = include_str!("bump.lua");

/// The part of the server that one namespace is.
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

    /// What a look at an entry asks for.
    pub(crate) fn wanted(&self, key: &Key, tags: &[Key]) -> Wanted {
        let names = tags.iter().map(|tag| self.version_in_pieces(tag));
        Wanted::new(self.slot_in_pieces(key), names)
    }

    fn slot_in_pieces<'a>(&'a self, key: &'a Key) -> [&'a str; 3] {
        [&self.0, ":e:", key.as_str()]
    }

    fn version_in_pieces<'a>(&'a self, tag: &'a Key) -> [&'a str; 3] {
        [&self.0, ":v:", tag.as_str()]
    }

    /// Where processes tell each other what could not be invalidated.
    pub(crate) fn channel(&self) -> String {
        format!("{}:i", self.0)
    }

    /// A slot that is there only to see whether one can be written: no key is empty.
    pub(crate) fn trial(&self) -> String {
        format!("{}:e:", self.0)
    }

    /// Removes each name's slot, and moves its version on; fences are spared.
    pub(crate) fn invalidate<'a>(&self, names: impl IntoIterator<Item = &'a Key>) -> Pipeline {
        let mut invalidate = commands();
        for name in names {
            script(&mut invalidate, UNLINK, &self.slot(name));
            script(&mut invalidate, bump_script(), &self.version(name));
        }
        invalidate
    }

    /// No names are all names.
    pub(crate) fn announce(&self, names: &[Key]) -> Pipeline {
        let names: Vec<&str> = names.iter().map(Key::as_str).collect();
        let message = serde_json::to_vec(&names).unwrap_or_default();
        let mut announce = commands();
        announce.cmd("PUBLISH").arg(self.channel()).arg(message);
        announce
    }

    pub(crate) fn heard(message: &[u8]) -> Option<Vec<Key>> {
        let names: Vec<String> = serde_json::from_slice(message).ok()?;
        Some(names.into_iter().map(Key::from).collect())
    }

    /// Removes everything. A scan returns every key that is there from its beginning to
    /// its end, so no entry, lease or version from before the call survives it. Fences do:
    /// nothing is stored behind them, and their writers are not done yet.
    pub(crate) async fn clear(
        &self,
        connection: &Connection,
        limit: Duration,
    ) -> Result<(), Error> {
        let mut cursor = b"0".to_vec();
        loop {
            let mut scan = commands();
            scan.cmd("SCAN")
                .arg(&cursor)
                .arg("MATCH")
                .arg(format!("{}:*", self.0))
                .arg("COUNT")
                .arg(1000);
            let replies = connection.request(&scan, limit).await?;
            let Some(Value::Array(page)) = replies.into_iter().next() else {
                return Err(connection.makes_no_sense());
            };
            let mut page = page.into_iter();
            let Some(next) = page.next().and_then(bytes) else {
                return Err(connection.makes_no_sense());
            };
            cursor = next;
            if let Some(Value::Array(keys)) = page.next()
                && !keys.is_empty()
            {
                let mut unlink = commands();
                unlink
                    .cmd("EVAL")
                    .arg(UNLINK)
                    .arg(keys.len())
                    .arg(keys.into_iter().filter_map(bytes).collect::<Vec<_>>());
                connection.request(&unlink, limit).await?;
            }
            if cursor == b"0" {
                return Ok(());
            }
        }
    }
}

fn bump_script() -> &'static str {
    if sabotage::keeps(Rule::UnlinkWhenFull) {
        BUMP
    } else {
        "return redis.call('INCR', KEYS[1])"
    }
}
