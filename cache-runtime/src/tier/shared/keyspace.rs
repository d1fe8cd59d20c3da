//! What the keys on the server are called, and the operations that need no look at them.

use std::time::{Duration, Instant};

use super::announcement::Message;
use super::notice::{self, Notice};
use super::selection::Selection;
use super::window::Window;
use crate::driver::{Connection, Elsewhere, NodeAddress, Operation, ReadKeys, Reply, hash_slot};
use crate::error::Error;
use crate::key::{Key, Pattern, on_server};
use crate::sabotage::{self, Rule};

const UNLINK: &str = include_str!("scripts/unlink.lua");
const BUMP: &str = include_str!("scripts/bump.lua");
const TELL: &str = "if ARGV[1] then redis.pcall('PUBLISH', ARGV[1], ARGV[2]) end return 1";
const WRITE_TRIAL: &str = "return redis.call('SET', KEYS[1], '', 'PX', 1)";

/// The letters of the tools: `s`, texts; `l`, locks; `b`, those of sweeps; `q` and `w`, rate limits; `x`, what programs keep by
/// commands of their own.
const TOOLS: &[u8] = b"slbqwx";

/// The part of a server that one namespace is.
#[derive(Debug, Clone)]
pub(crate) struct Keyspace {
    namespace: String,
    database: i64,
}

impl Keyspace {
    pub(crate) fn new(namespace: &str, database: i64) -> Self {
        Self {
            namespace: namespace.to_owned(),
            database,
        }
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(crate) fn slot(&self, key: &Key) -> String {
        self.slot_in_pieces(&key.on_server()).concat()
    }

    pub(crate) fn version(&self, tag: &Key) -> String {
        self.version_in_pieces(&tag.on_server()).concat()
    }

    /// What the slots of names that match a pattern match, for a scan.
    pub(crate) fn slots_glob(&self, pattern: &Pattern) -> String {
        format!("{}:e:{}", self.namespace, pattern.glob())
    }

    /// The name whose slot a key of the server is.
    pub(crate) fn name_in_slot<'a>(&self, key: &'a [u8]) -> Option<&'a [u8]> {
        let rest = key.strip_prefix(self.namespace.as_bytes());
        rest?.strip_prefix(b":e:")
    }

    /// A key of the toolkit. Its name begins with the letter of a tool.
    pub(crate) fn plain(&self, name: &str) -> String {
        format!("{}:{name}", self.namespace)
    }

    /// Whether a key is one of the toolkit, by its letter.
    fn is_plain(&self, key: &[u8]) -> bool {
        let rest = key.strip_prefix(self.namespace.as_bytes());
        matches!(rest, Some([b':', letter, b':', ..]) if TOOLS.contains(letter))
    }

    /// What a look asks for: the slot of a key, and then the versions of tags.
    pub(crate) fn slot_and_versions(&self, key: &Key, tags: &[Key]) -> ReadKeys {
        let (key, tags) = (&*key.on_server(), &*on_server(tags));
        let versions = tags.iter().map(|tag| self.version_in_pieces(tag));
        ReadKeys::new(std::iter::once(self.slot_in_pieces(key)).chain(versions))
    }

    /// The versions of tags.
    pub(crate) fn versions(&self, tags: &[Key]) -> ReadKeys {
        let tags = &*on_server(tags);
        ReadKeys::new(tags.iter().map(|tag| self.version_in_pieces(tag)))
    }

    /// The lock under which the entry of a key is refreshed. It is in the hash slot of the entry, unless its
    /// name has a `}` before any `{`.
    pub(crate) fn lock(&self, key: &Key) -> String {
        let slot = self.slot(key);
        let has_tag = slot
            .split_once('{')
            .is_some_and(|(_, rest)| rest.split_once('}').is_some_and(|(tag, _)| !tag.is_empty()));
        if has_tag {
            let rest = &slot[self.namespace.len() + ":e:".len()..];
            format!("{}:r:{rest}", self.namespace)
        } else {
            format!("{}:r:{{{slot}}}", self.namespace)
        }
    }

    /// The pieces are those of a name that is not long.
    fn slot_in_pieces<'a>(&'a self, key: &'a Key) -> [&'a str; 3] {
        [&self.namespace, ":e:", key.as_str()]
    }

    fn version_in_pieces<'a>(&'a self, tag: &'a Key) -> [&'a str; 3] {
        [&self.namespace, ":v:", tag.as_str()]
    }

    /// The channel on which processes tell each other what could not be invalidated. A server has
    /// one set of channels for all of its databases.
    pub(crate) fn channel(&self) -> String {
        format!("{}:{}:i", self.namespace, self.database)
    }

    /// The channel on which a server tells what was invalidated there, for the processes that keep copies.
    pub(crate) fn notices(&self) -> String {
        format!("{}:{}:n", self.namespace, self.database)
    }

    /// Has a script tell the processes that keep copies.
    pub(super) fn publishing(&self, script: Operation, notice: &Notice) -> Operation {
        if sabotage::keeps(Rule::PublishedByScript) {
            notice::publishing(script, &self.notices(), notice)
        } else {
            script
        }
    }

    /// Tells the processes that keep copies of an entry that it was replaced. One that may not publish has
    /// replaced it all the same.
    pub(super) fn telling(&self, key: Key) -> Operation {
        let tell = Operation::script(TELL, self.slot(&key));
        self.publishing(tell, &Notice::Entry(key))
    }

    /// Tells the processes that keep copies of what a scan has removed.
    pub(super) fn tell(&self, notice: &Notice) -> Operation {
        Operation::Publish {
            channel: self.notices(),
            message: notice.to_bytes(),
        }
    }

    /// Reads and writes a key that no entry has: whether that is allowed.
    pub(crate) fn trial(&self, number: u32) -> Vec<Operation> {
        let key = || self.trial_key(number);
        vec![
            Operation::Read { key: key() },
            Operation::script(WRITE_TRIAL, key()),
        ]
    }

    /// A key for trials. Those of different numbers are in different parts of a cluster. No name is
    /// empty, so the first one is no slot.
    pub(crate) fn trial_key(&self, number: u32) -> String {
        match number {
            0 => format!("{}:e:", self.namespace),
            number => format!("{}:t:{number}", self.namespace),
        }
    }

    /// Removes what is in a slot, unless it is a fence.
    pub(crate) fn unlink(&self, key: &Key) -> Operation {
        let key = key.on_server().into_owned();
        let unlink = Operation::script(UNLINK, self.slot(&key));
        self.publishing(unlink, &Notice::Entry(key))
    }

    /// Moves the version of a tag on, unless it is a fence.
    fn bump(&self, tag: &Key) -> Operation {
        let tag = tag.on_server().into_owned();
        let bump = Operation::script(sabotage::bump_script(BUMP), self.version(&tag));
        self.publishing(bump, &Notice::Tag(tag))
    }

    /// Removes each name's slot, and moves its version on; fences are spared.
    pub(crate) fn invalidate(&self, names: &[Key]) -> Vec<Operation> {
        let both = |name| [self.unlink(name), self.bump(name)];
        names.iter().flat_map(both).collect()
    }

    /// Tells other processes something.
    pub(crate) fn publish(&self, message: &Message) -> Operation {
        Operation::Publish {
            channel: self.channel(),
            message: message.to_bytes(),
        }
    }

    /// Removes everything but what the toolkit keeps. A scan returns every key that is there from its
    /// beginning to its end, so no entry, lease or version from before the call survives it. Fences
    /// do: nothing is stored behind them, and their writers are still at work.
    ///
    /// In the end the server is asked for a write, as in [`remove`](Self::remove), by one that leaves nothing.
    pub(crate) async fn clear(
        &self,
        connection: &Connection,
        trial: u32,
        pages: &Pages<'_>,
    ) -> Result<(), Error> {
        let job = Removes {
            glob: format!("{}:*", self.namespace),
            is_meant: |key: &[u8]| !self.is_plain(key),
        };
        let mut scan = Scan::default();
        while !scan.is_done() {
            self.remove_page(connection, pages, &mut scan, None, &job)
                .await?;
        }
        let unlink = Operation::script(UNLINK, self.trial_key(trial));
        all_here(connection, &[unlink], pages.limit).await?;
        self.tell_of(connection, &[Notice::Everything], pages.limit)
            .await
    }

    /// Tells the processes that keep copies of what a scan has removed. Where that is not allowed, only the
    /// ttl of a copy ends it.
    async fn tell_of(
        &self,
        connection: &Connection,
        notices: &[Notice],
        limit: Duration,
    ) -> Result<(), Error> {
        let tell: Vec<_> = notices.iter().map(|notice| self.tell(notice)).collect();
        match connection.run_within(&tell, limit).await {
            Err(error) if !error.is_refused() => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes the slots and versions of the names that are selected from one server, from where a scan
    /// has got to there, until that is done or it is this late. Returns whether it is done.
    ///
    /// A server that is a replica by now lists keys, too. So in the end it is asked for a write, by the
    /// trial of this number.
    pub(crate) async fn remove(
        &self,
        connection: &Connection,
        trial: u32,
        pages: &Pages<'_>,
        selection: &Selection,
        scan: &mut Scan,
        until: Option<Instant>,
    ) -> Result<bool, Error> {
        if scan.is_done() && scan.epoch == connection.epoch() {
            return Ok(true);
        }
        let is_meant = |key: &[u8]| {
            let name = self.name_in(key);
            name.is_some_and(|name| !name.is_empty() && selection.contains(name))
        };
        let job = Removes {
            glob: format!("{}:?:{}", self.namespace, selection.glob()),
            is_meant,
        };
        loop {
            self.remove_page(connection, pages, scan, until, &job)
                .await?;
            if scan.is_done() {
                break;
            }
            // On a server that tells no epoch, a scan cannot go on later.
            let is_late = until.is_some_and(|until| Instant::now() >= until);
            if is_late && connection.epoch() != 0 {
                return Ok(false);
            }
        }
        let notices = selection.notices();
        let ended = match self.try_to_write(connection, trial, pages.limit).await {
            Ok(()) => self.tell_of(connection, &notices, pages.limit).await,
            Err(error) => Err(error),
        };
        if ended.is_err() {
            *scan = Scan::default();
        }
        ended.map(|()| true)
    }

    /// Reads and writes the key for trials of this number, to see whether that is allowed.
    pub(crate) async fn try_to_write(
        &self,
        connection: &Connection,
        trial: u32,
        limit: Duration,
    ) -> Result<(), Error> {
        all_here(connection, &self.trial(trial), limit).await
    }

    /// Removes some of what one page of the scan lists. A page that takes too long is asked for
    /// again, with half as many keys each time. The late answer may still be on its way, and then the
    /// next one waits behind it. A page ends after one try for each size of the window, of which there
    /// are seven, or once it is this late.
    async fn remove_page(
        &self,
        connection: &Connection,
        pages: &Pages<'_>,
        scan: &mut Scan,
        until: Option<Instant>,
        job: &Removes<impl Fn(&[u8]) -> bool>,
    ) -> Result<(), Error> {
        let is_late = || until.is_some_and(|until| Instant::now() >= until);
        scan.begin(connection.epoch());
        loop {
            let tried = pages.window.size();
            match self.try_page(connection, pages, scan, job).await {
                Err(error) if error.is_timeout() && pages.window.size() < tried && !is_late() => {}
                result => return result,
            }
        }
    }

    async fn try_page(
        &self,
        connection: &Connection,
        pages: &Pages<'_>,
        scan: &mut Scan,
        job: &Removes<impl Fn(&[u8]) -> bool>,
    ) -> Result<(), Error> {
        let Pages {
            window,
            limit,
            tell,
        } = *pages;
        let count = window.size();
        let begun = Instant::now();
        let removed = async {
            let list = [Operation::Scan {
                pattern: job.glob.clone(),
                cursor: scan.cursor.clone(),
                count,
            }];
            let replies = connection.run_within(&list, limit).await?;
            let Some((next, mut keys)) = page(replies) else {
                let reason = "its answer to SCAN makes no sense";
                return Err(Error::unavailable(connection.address(), &reason));
            };
            keys.retain(|key| (job.is_meant)(key));
            let entries = self.unlink_page(connection, keys, limit).await?;
            Ok((next, entries))
        };
        match removed.await {
            Ok((next, entries)) => {
                window.answered(count, begun.elapsed(), limit);
                scan.go_on(next);
                tell(count as u64, entries);
                Ok(())
            }
            Err(error) => {
                if error.is_timeout() && sabotage::keeps(Rule::FitsDeadline) {
                    window.timed_out(count);
                }
                Err(error)
            }
        }
    }

    /// Removes keys that the server has listed, unless they are fences, and returns how many of them were
    /// slots.
    async fn unlink_page(
        &self,
        connection: &Connection,
        keys: Vec<Vec<u8>>,
        limit: Duration,
    ) -> Result<u64, Error> {
        if keys.is_empty() {
            return Ok(0);
        }
        let is_slot = |key: &Vec<u8>| {
            let rest = key.strip_prefix(self.namespace.as_bytes());
            rest.is_some_and(|rest| rest.starts_with(b":e:"))
        };
        let (slots, versions): (Vec<_>, Vec<_>) = keys.into_iter().partition(is_slot);
        let by_hash_slot = connection.is_of_cluster();
        let mut unlink = unlink_listed(slots, by_hash_slot);
        let of_slots = unlink.len();
        unlink.extend(unlink_listed(versions, by_hash_slot));
        let replies = connection.run_within(&unlink, limit).await?;
        let mut removed = 0;
        let mut moving = Vec::new();
        for (at, (operation, reply)) in unlink.into_iter().zip(replies).enumerate() {
            match (operation, reply) {
                (Operation::ScriptOnListed { keys, .. }, Reply::Elsewhere(_)) => {
                    moving.extend(keys);
                }
                (_, Reply::Number(number)) if at < of_slots => {
                    removed += u64::try_from(number).unwrap_or_default();
                }
                _ => {}
            }
        }
        // Of several keys on their way to another node, none is removed if one of them is there already.
        let one_by_one = moving.iter().map(|key| unlink_some(vec![key.clone()]));
        let one_by_one: Vec<Operation> = one_by_one.collect();
        if one_by_one.is_empty() {
            return Ok(removed);
        }
        let replies = connection.run_within(&one_by_one, limit).await?;
        for (key, reply) in moving.iter().zip(replies) {
            match reply {
                Reply::Elsewhere(nowhere @ Elsewhere::Nowhere(_)) => {
                    return Err(nowhere.error(connection.address()));
                }
                Reply::Number(1) if is_slot(key) => removed += 1,
                // The other node lists it.
                _ => {}
            }
        }
        Ok(removed)
    }

    /// The name whose slot or version this is. A refresh lock is left alone: it says nothing of what is
    /// stored.
    fn name_in<'a>(&self, key: &'a [u8]) -> Option<&'a [u8]> {
        self.name_in_slot(key).or_else(|| {
            let rest = key.strip_prefix(self.namespace.as_bytes());
            rest?.strip_prefix(b":v:")
        })
    }
}

/// What a scan removes.
struct Removes<F> {
    /// Matches at least the keys that are meant.
    glob: String,
    is_meant: F,
}

/// How many keys to ask for together, and how long an answer may take.
pub(crate) struct Pages<'a> {
    pub(crate) window: &'a Window,
    pub(crate) limit: Duration,
    /// Is told, after each page, about how many keys it had, and how many slots were removed.
    pub(crate) tell: &'a (dyn Fn(u64, u64) + Sync),
}

/// Where the scans of all servers have got to.
#[derive(Debug, Default)]
pub(crate) struct Scans {
    all: Vec<Scan>,
    /// In a cluster, how often all nodes were scanned, and which node has which hash slots since the first
    /// of these scans began.
    rounds: u32,
    ranges: Ranges,
    is_done: bool,
}

type Ranges = Vec<(u16, u16, NodeAddress)>;

/// How often all nodes of a cluster are scanned. A key that is on its way from one node to another may
/// be on the second when the first is scanned, and on the first when the second is. The next scan of the
/// second node then finds it, unless it goes back meanwhile.
pub(crate) const ROUNDS: u32 = 2;

impl Scans {
    /// Begins anew if other nodes have the hash slots now than when the scans began.
    pub(crate) fn of_cluster(&mut self, ranges: &Ranges) {
        if self.ranges != *ranges {
            *self = Self {
                ranges: ranges.clone(),
                ..Self::default()
            };
        }
    }

    /// All nodes were scanned once more. True if that is enough.
    pub(crate) fn end_round(&mut self) -> bool {
        self.all.clear();
        self.rounds += 1;
        self.rounds >= ROUNDS
    }

    /// The scan of the server with this epoch. One of a server that tells no epoch begins anew.
    pub(crate) fn at(&mut self, epoch: u64) -> &mut Scan {
        self.all.retain(|scan| scan.epoch != 0);
        let known = self.all.iter().position(|scan| scan.epoch == epoch);
        let at = known.unwrap_or_else(|| {
            let epoch_only = Scan {
                epoch,
                ..Scan::default()
            };
            self.all.push(epoch_only);
            self.all.len() - 1
        });
        &mut self.all[at]
    }

    /// All servers were scanned.
    pub(crate) fn finish(&mut self) {
        self.is_done = true;
    }

    pub(crate) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Takes in one page of a scan that has so many.
    #[cfg(test)]
    pub(super) fn go_on_in_a_test(&mut self, pages: u64) {
        let scan = self.at(7);
        scan.begin(7);
        let cursor = str::from_utf8(&scan.cursor).unwrap_or_default();
        let seen = cursor.parse::<u64>().unwrap_or_default() + 1;
        let next = if seen == pages { 0 } else { seen };
        scan.go_on(next.to_string().into_bytes());
        self.is_done = self.at(7).is_done;
    }
}

/// Where a scan through all keys of a server has got to.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// The server that gave the cursor. It is worth nothing to another one.
    epoch: u64,
    cursor: Vec<u8>,
    is_done: bool,
}

impl Scan {
    /// Begins the scan, or begins it anew if it has come to another server.
    fn begin(&mut self, epoch: u64) {
        if self.cursor.is_empty() || self.epoch != epoch {
            *self = Self {
                epoch,
                cursor: b"0".to_vec(),
                is_done: false,
            };
        }
    }

    fn go_on(&mut self, next: Vec<u8>) {
        self.is_done = next == b"0";
        self.cursor = next;
    }

    pub(crate) fn is_done(&self) -> bool {
        self.is_done
    }
}

/// Carries these out; an error if one of them belongs to another node of the cluster.
async fn all_here(
    connection: &Connection,
    operations: &[Operation],
    limit: Duration,
) -> Result<(), Error> {
    for reply in connection.run_within(operations, limit).await? {
        if let Reply::Elsewhere(elsewhere) = reply {
            return Err(elsewhere.error(connection.address()));
        }
    }
    Ok(())
}

/// The most keys that one script removes: half a millisecond's work. The server does nothing else meanwhile.
const UNLINKED_TOGETHER: usize = 100;

/// Removes keys that a server has listed, unless they are fences. A node of a cluster takes those of one
/// hash slot at a time.
fn unlink_listed(mut keys: Vec<Vec<u8>>, by_hash_slot: bool) -> Vec<Operation> {
    if !by_hash_slot {
        let groups = keys.chunks(UNLINKED_TOGETHER);
        return groups.map(|keys| unlink_some(keys.to_vec())).collect();
    }
    keys.sort_by_cached_key(|key| hash_slot(key));
    let groups = keys.chunk_by(|one, other| hash_slot(one) == hash_slot(other));
    let groups = groups.flat_map(|keys| keys.chunks(UNLINKED_TOGETHER));
    groups.map(|keys| unlink_some(keys.to_vec())).collect()
}

fn unlink_some(keys: Vec<Vec<u8>>) -> Operation {
    Operation::ScriptOnListed { text: UNLINK, keys }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_namespace_has_a_channel_for_each_database() {
        let channels: Vec<String> = [("a", 0), ("a", 1), ("b", 0), ("a:0", 0)]
            .map(|(namespace, database)| Keyspace::new(namespace, database).channel())
            .into();
        let distinct: std::collections::HashSet<_> = channels.iter().collect();
        assert_eq!(distinct.len(), channels.len(), "{channels:?}");
    }

    #[test]
    fn slots_and_versions_tell_their_names_and_other_keys_tell_none() {
        let keyspace = Keyspace::new("cache", 0);
        let name = Key::from("user:7");
        for key in [keyspace.slot(&name), keyspace.version(&name)] {
            assert_eq!(keyspace.name_in(key.as_bytes()), Some(name.bytes()));
        }
        let long = Key::from("x".repeat(Key::MAX_LEN + 1));
        let slot = keyspace.slot(&long);
        assert_eq!(
            keyspace.name_in(slot.as_bytes()),
            Some(long.on_server().bytes())
        );
        assert_eq!(keyspace.slot(&long.on_server()), slot);
        for key in ["cache2:e:user:7", "cache:x:user:7", "user:7", "cache"] {
            assert_eq!(keyspace.name_in(key.as_bytes()), None, "{key}");
        }
    }
}
