//! The shared tier: the protocol's steps on a Redis or Valkey server.
//!
//! ```text
//! slot     <ns>:e:<key>   absent | lease | entry | fence
//! version  <ns>:v:<tag>   absent | number | fence    a number is drawn at random, then counted up
//! ```
//!
//! An absent version is on no valid entry, so a version may be lost (evicted,
//! expired, flushed) at any time: what it guarded becomes a miss.
//!
//! A fence is there while writers are at work, with a deadline each: [`fence`].
//! [`journal`] takes the names whose invalidation fails, and [`connector`] is what stands
//! between all this and a server that is away.

mod connection;
mod connector;
mod fence;
mod gather;
mod journal;
mod keyspace;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use redis::{Cmd, ConnectionAddr, IntoConnectionInfo as _, Pipeline, Value};

use self::connection::{Clients, Connection, bytes, commands, script};
use self::connector::Connector;
pub(crate) use self::connector::Limits;
use self::gather::{Found, Gather, Source};
#[cfg(all(test, shuttle))]
pub(crate) use self::journal::Journal;
pub(crate) use self::keyspace::Keyspace;
use crate::clock;
use crate::codec::{Form, Payload};
use crate::entry::{self, Entry, Header, Mark, Slot, Version};
use crate::error::Error;
use crate::flight::Flights;
use crate::health::Status;
use crate::key::Key;
use crate::sabotage::{self, Rule};
use crate::unique;

const LEASE: &str = include_str!("lease.lua");
const VERSION: &str = include_str!("version.lua");
const FILL: &str = include_str!("fill.lua");
const SET: &str = include_str!("set.lua");
const RENEW: &str = include_str!("renew.lua");
const RELEASE: &str = include_str!("release.lua");

/// How much longer than its entries a version lives, for the load that comes between.
const VERSION_MARGIN: Duration = Duration::from_secs(600);

/// How often a flush looks after those who do its work.
const NUDGE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Shared {
    connector: Arc<Connector>,
    reads: Gather<Connector>,
    keyspace: Keyspace,
    lease: Duration,
    pub(crate) flights: Flights<Seen>,
}

/// What one look at the server showed.
#[derive(Debug)]
pub(crate) struct Sight {
    pub(crate) slot: Slot,
    pub(crate) now: Now,
}

/// What an entry must agree with: the server, and the tags' versions on it.
#[derive(Debug)]
pub(crate) struct Now {
    connection: Arc<Connection>,
    /// In the order of the tags.
    versions: Arc<[Version]>,
}

/// What a caller saw who found a lease.
#[derive(Debug)]
pub(crate) struct Seen {
    evidence: Evidence,
    /// The lease itself, if it is this process's.
    pub(crate) lease: Option<Lease>,
}

/// What an invalidation, had there been one, would have changed. No version is absent:
/// invalidating a tag without one changes nothing.
#[derive(Debug, PartialEq)]
struct Evidence {
    mark: Mark,
    epoch: u64,
    versions: Vec<u64>,
}

/// Callers who saw the same may share a load.
impl PartialEq for Seen {
    fn eq(&self, other: &Self) -> bool {
        self.evidence == other.evidence
    }
}

/// The right to fill one slot, once. Given back when it is dropped unused.
#[derive(Debug)]
pub(crate) struct Lease {
    connector: Arc<Connector>,
    connection: Arc<Connection>,
    slot: String,
    mark: Mark,
    duration: Duration,
    /// The tags, with the versions they had before the load.
    tags: Vec<Key>,
    versions: Vec<u64>,
    settled: AtomicBool,
}

/// How asking for a lease ends.
#[derive(Debug)]
pub(crate) enum Acquired {
    Lease(Seen),
    /// The slot has changed since it was seen.
    Taken,
    /// A tag has a fence: what is loaded now is not to be stored.
    Fenced,
}

impl Shared {
    pub(crate) fn new(
        url: &str,
        namespace: &str,
        lease: Duration,
        limits: Limits,
        journal_capacity: usize,
    ) -> Result<Self, Error> {
        let info = url
            .into_connection_info()
            .map_err(|error| Error::config(error.to_string()))?;
        let address = describe(info.addr());
        let clients = Clients::new(info).map_err(|error| Error::config(error.to_string()))?;
        let keyspace = Keyspace::new(namespace);
        let connector =
            Connector::new(clients, address, limits, keyspace.clone(), journal_capacity);
        let connector = Arc::new(connector);
        Ok(Self {
            reads: Gather::new(connector.clone()),
            connector,
            keyspace,
            lease,
            flights: Flights::default(),
        })
    }

    fn slot(&self, key: &Key) -> String {
        self.keyspace.slot(key)
    }

    fn version(&self, tag: &Key) -> String {
        self.keyspace.version(tag)
    }

    /// Whether an invalidation of one of these names has failed, and was not repeated yet:
    /// then what the server shows may be older than it. To be asked before a look, for what
    /// failed here, and after it too, for what other processes have announced meanwhile.
    pub(crate) fn distrusts(&self, key: &Key, tags: &[Key]) -> bool {
        let distrusts =
            sabotage::keeps(Rule::Distrust) && self.connector.journal.distrusts(key, tags);
        if distrusts {
            // Whoever did may have gone, with the runtime it was on.
            self.connector.look_after_the_journal();
        }
        distrusts
    }

    /// Reads a slot and the versions of `tags`, in one round trip, which others may share.
    pub(crate) async fn look(&self, key: &Key, tags: &[Key]) -> Result<Sight, Error> {
        let Found {
            connection,
            slot,
            company,
            versions,
        } = self.reads.read(self.keyspace.wanted(key, tags)).await?;
        let mut slot = entry::decode(slot);
        if let Slot::Entry(entry) = &mut slot {
            entry.company = company;
        }
        Ok(Sight {
            slot,
            now: Now {
                connection,
                versions,
            },
        })
    }

    /// Reads an entry whose tags are known only from its header: a round trip
    /// more where it has tags. The versions are read last, which is as good as at once.
    pub(crate) async fn look_up(&self, key: &Key) -> Result<Option<Entry>, Error> {
        if self.distrusts(key, &[]) {
            return Ok(None);
        }
        let Sight { slot, mut now } = self.look(key, &[]).await?;
        let Slot::Entry(entry) = slot else {
            return Ok(None);
        };
        let tags: Vec<Key> = entry.tags().map(|(tag, _)| Key::from(tag)).collect();
        // Again after the look, and before the versions are read.
        if self.distrusts(key, &tags) {
            return Ok(None);
        }
        if !tags.is_empty() {
            let mut read = commands();
            let mget = read.cmd("MGET");
            for tag in &tags {
                mget.arg(self.version(tag));
            }
            let replies = self.connector.send_over(&now.connection, &read).await?;
            if let Some(Value::Array(found)) = replies.into_iter().next() {
                now.versions = found.into_iter().map(version).collect();
            }
        }
        let serves = now.may_serve(&entry) && !self.distrusts(key, &tags);
        Ok(serves.then_some(entry))
    }

    /// Takes the lease on a slot that still holds what was seen, and then reads the
    /// tags' versions, in one round trip: both before the load begins.
    pub(crate) async fn acquire(
        &self,
        key: &Key,
        tags: &[Key],
        seen: &Slot,
        now: &Now,
        ttl: Duration,
    ) -> Result<Acquired, Error> {
        let expected: &[u8] = match seen {
            Slot::Absent => &[],
            Slot::Entry(entry) => &entry.mark,
            Slot::Lease(mark) => mark,
            Slot::Unreadable(start) => start,
            Slot::Fence => return Ok(Acquired::Fenced),
        };
        let slot = self.slot(key);
        let mark = entry::new_lease();
        let mut acquire = commands();
        script(&mut acquire, LEASE, &slot)
            .arg(expected)
            .arg(&mark)
            .arg(millis(self.lease));
        self.read_versions(&mut acquire, tags, ttl);
        // From here on a lease may stand in the slot, whether or not we hear of it.
        let mut lease = Lease {
            connector: self.connector.clone(),
            connection: now.connection.clone(),
            slot,
            mark,
            duration: self.lease,
            tags: tags.to_vec(),
            versions: Vec::new(),
            settled: AtomicBool::new(false),
        };
        let replies = self.connector.send_over(&now.connection, &acquire).await?;
        let mut replies = replies.into_iter();
        if replies.next() != Some(Value::Int(1)) {
            lease.settle();
            return Ok(Acquired::Taken);
        }
        // Without it the lease is given back.
        let Some(versions) = versions(replies, key)? else {
            return Ok(Acquired::Fenced);
        };
        lease.versions = versions;
        Ok(Acquired::Lease(Seen {
            evidence: Evidence {
                mark,
                epoch: now.connection.epoch,
                versions: lease.versions.clone(),
            },
            lease: Some(lease),
        }))
    }

    /// Draws a version for each tag that has none.
    pub(crate) async fn draw_versions(
        &self,
        key: &Key,
        tags: &[Key],
        now: &Now,
        ttl: Duration,
    ) -> Result<(), Error> {
        let mut draw = commands();
        self.read_versions(&mut draw, tags, ttl);
        let replies = self.connector.send_over(&now.connection, &draw).await?;
        versions(replies.into_iter(), key).map(drop)
    }

    fn read_versions(&self, commands: &mut Pipeline, tags: &[Key], ttl: Duration) {
        let lives = ttl.saturating_mul(2).saturating_add(VERSION_MARGIN);
        for tag in tags {
            script(commands, VERSION, &self.version(tag))
                .arg(first_version())
                .arg(millis(lives));
        }
    }

    /// Writes an entry over whatever the slot holds. Under a fence, nothing is stored, and
    /// what was there goes.
    pub(crate) async fn set(
        &self,
        key: &Key,
        tags: &[Key],
        value: &Encoded,
        ttl: Duration,
    ) -> Result<(), Error> {
        // Asked for in any case: it tells which connection, and so which server, the entry is for.
        let mut read = commands();
        read.cmd("PING");
        self.read_versions(&mut read, tags, ttl);
        let (connection, replies) = self.connector.send(&read).await?;
        let Some(versions) = versions(replies.into_iter().skip(1), key)? else {
            return self.delete(key).await.map(drop);
        };
        let entry = value.after(&Header {
            form: value.form(),
            none: value.is_none(),
            version: 0,
            ttl,
            cost: Duration::ZERO,
            epoch: connection.epoch,
            tags,
            versions: &versions,
        });
        let mut set = commands();
        script(&mut set, SET, &self.slot(key))
            .arg(entry)
            .arg(millis(ttl));
        self.connector.send_over(&connection, &set).await?;
        Ok(())
    }

    /// Removes what is in a slot, unless it is a fence; whether it was there.
    pub(crate) async fn delete(&self, key: &Key) -> Result<bool, Error> {
        let mut delete = commands();
        script(&mut delete, keyspace::UNLINK, &self.slot(key));
        let (_, replies) = self.connector.send(&delete).await?;
        Ok(replies.first() == Some(&Value::Int(1)))
    }

    /// How long the slot's content still lives.
    pub(crate) async fn remaining(&self, key: &Key) -> Result<Option<Duration>, Error> {
        let mut ask = commands();
        ask.cmd("PTTL").arg(self.slot(key));
        let (_, replies) = self.connector.send(&ask).await?;
        match replies.first() {
            Some(&Value::Int(left)) => Ok(u64::try_from(left).ok().map(Duration::from_millis)),
            _ => Ok(None),
        }
    }

    /// Invalidates names: each one's entry, and every entry that carries it as a tag.
    /// What fails, or is dropped half-way, is kept in the journal.
    pub(crate) async fn invalidate(&self, names: &[Key]) -> Result<(), Error> {
        // In this order: the names are in the journal before somebody looks after it.
        let _looked_after = LookAfter(&self.connector);
        let under_way = self.connector.journal.begin(names);
        let mut result = Ok(());
        for names in names.chunks(journal::BATCH) {
            let invalidate = self.keyspace.invalidate(names);
            result = self.connector.send(&invalidate).await.map(drop);
            if result.is_err() {
                break;
            }
        }
        let Err(error) = result else {
            under_way.done();
            return Ok(());
        };
        if !sabotage::keeps(Rule::Journal) {
            under_way.done();
            return Err(error);
        }
        drop(under_way);
        if error.is_refused() && sabotage::keeps(Rule::Publish) {
            self.connector.announce(names).await;
        }
        Err(error)
    }

    /// Keeps names whose invalidation cannot be waited for here.
    pub(crate) fn invalidate_later(&self, names: &[Key]) {
        self.connector.journal.keep(names);
        self.connector.look_after_the_journal();
    }

    /// The same for all names there are.
    pub(crate) fn clear_later(&self) {
        self.connector.journal.keep_everything();
        self.connector.look_after_the_journal();
    }

    /// Waits until every invalidation was carried out, at most for `limit`.
    pub(crate) async fn flush(&self, limit: Duration) -> Result<(), Error> {
        if Handle::try_current().is_err() {
            // Nobody here could do it, or wait.
            let reason = "this task does not run on a Tokio runtime";
            return match self.kept() {
                (0, false) => Ok(()),
                _ => Err(self.still_kept(&reason)),
            };
        }
        let emptied = async {
            // The keeper may be lost, with the runtime it was on.
            while clock::within(NUDGE, self.connector.journal.emptied())
                .await
                .is_none()
            {
                self.connector.look_after_the_journal();
            }
        };
        self.connector.look_after_the_journal();
        if clock::within(limit, emptied).await.is_some() {
            return Ok(());
        }
        let reason = match self.status().error() {
            Some(error) => error.to_string(),
            None => format!("not all were carried out within {limit:?}"),
        };
        Err(self.still_kept(&reason))
    }

    fn still_kept(&self, reason: &dyn std::fmt::Display) -> Error {
        let names = match self.kept() {
            (_, true) => "all".to_owned(),
            (names, false) => names.to_string(),
        };
        Error::kept(self.connector.address(), &names, reason)
    }

    pub(crate) async fn ping(&self) -> Result<(), Error> {
        self.connector.ping().await
    }

    pub(crate) fn status(&self) -> Status {
        self.connector.status()
    }

    /// How many names are in the journal, and whether it has overflowed.
    pub(crate) fn kept(&self) -> (usize, bool) {
        self.connector.journal.len()
    }

    /// How often the server went away, and how often it began to refuse.
    pub(crate) fn incidents(&self) -> (u64, u64) {
        self.connector.incidents()
    }

    /// Removes everything in the namespace.
    pub(crate) async fn clear(&self) -> Result<(), Error> {
        self.connector.clear().await
    }
}

/// However an invalidation ends, what it left in the journal has somebody to replay it.
struct LookAfter<'a>(&'a Arc<Connector>);

impl Drop for LookAfter<'_> {
    fn drop(&mut self) {
        if !self.0.journal.is_empty() {
            self.0.look_after_the_journal();
        }
    }
}

impl Source for Connector {
    type Connection = Connection;

    async fn read(
        self: &Arc<Self>,
        mget: &Cmd,
        until: Instant,
    ) -> Result<(Arc<Connection>, Vec<Value>), Error> {
        let (connection, reply) = self.send_until(mget, until).await?;
        match reply {
            Value::Array(values) => Ok((connection, values)),
            _ => Ok((connection, Vec::new())),
        }
    }

    fn deadline(&self) -> Instant {
        self.deadline()
    }

    async fn within<T: Send>(
        &self,
        until: Instant,
        waiting: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        self.within(until, waiting).await?
    }

    fn cut_short(&self) -> Error {
        self.cut_short()
    }
}

impl Now {
    /// Whether an entry may be served. Every version must be there and be the one
    /// from before the load: first versions are drawn at random, so two tags, or
    /// one that was lost and drawn again, never agree by chance.
    pub(crate) fn may_serve(&self, entry: &Entry) -> bool {
        let same = |((_, was), is): ((&str, u64), &Version)| {
            Version::Number(was) == *is
                || *is == Version::Absent && !sabotage::keeps(Rule::AbsentVersion)
        };
        entry.header.epoch == self.connection.epoch
            && entry.tags().len() == self.versions.len()
            && entry.tags().zip(&*self.versions).all(same)
    }

    /// Whether writers are at work on one of the tags.
    pub(crate) fn is_fenced(&self) -> bool {
        self.versions.contains(&Version::Fence)
    }

    /// What a caller saw who found somebody's lease; `None` if a version is absent.
    pub(crate) fn with_lease(&self, mark: Mark) -> Option<Seen> {
        Some(Seen {
            evidence: Evidence {
                mark,
                epoch: self.connection.epoch,
                versions: self
                    .versions
                    .iter()
                    .copied()
                    .map(Version::number)
                    .collect::<Option<_>>()?,
            },
            lease: None,
        })
    }
}

impl Lease {
    /// Replaces the lease by an entry, if it still stands.
    ///
    /// Over the connection that the lease was taken through: the entry's header
    /// names that server, and no other.
    pub(crate) async fn fill(
        &self,
        value: &Encoded,
        ttl: Duration,
        version: u32,
        cost: Duration,
    ) -> Result<(), Error> {
        let entry = value.after(&Header {
            form: value.form(),
            none: value.is_none(),
            version,
            ttl,
            cost,
            epoch: self.connection.epoch,
            tags: &self.tags,
            versions: &self.versions,
        });
        let mut fill = commands();
        script(&mut fill, fill_script(), &self.slot)
            .arg(&self.mark)
            .arg(entry)
            .arg(millis(ttl));
        self.connector.send_over(&self.connection, &fill).await?;
        self.settle();
        Ok(())
    }

    /// Renews the lease for as long as it is polled, up to `limit`.
    pub(crate) async fn keep(&self, limit: Duration) -> Infallible {
        let pause = (self.duration / 3).max(Duration::from_millis(1));
        let mut kept = Duration::ZERO;
        // Without a runtime there is neither a pause nor a server.
        while kept < limit && Handle::try_current().is_ok() {
            clock::pause(pause).await;
            kept += pause;
            let mut renew = commands();
            script(&mut renew, RENEW, &self.slot)
                .arg(&self.mark)
                .arg(millis(self.duration));
            // A renewal that fails is followed by another, or the lease expires.
            let _ = self.connector.send_over(&self.connection, &renew).await;
        }
        std::future::pending().await
    }

    /// Gives the lease back.
    pub(crate) async fn release(&self) {
        Self::give_back(&self.connector, &self.slot, &self.mark).await;
        self.settle();
    }

    /// Over any connection: no other lease on any server has this mark, and the one that it
    /// was taken through may be what failed.
    async fn give_back(connector: &Arc<Connector>, slot: &str, mark: &Mark) {
        let mut release = commands();
        script(&mut release, RELEASE, slot).arg(mark);
        // If it fails, the lease expires.
        let _ = connector.send(&release).await;
    }

    fn settle(&self) {
        self.settled.store(true, Ordering::Relaxed);
    }
}

/// A load that failed, or a caller that was cancelled or panicked with nobody to take over.
impl Drop for Lease {
    fn drop(&mut self) {
        if self.settled.load(Ordering::Relaxed) {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            let connector = self.connector.clone();
            let (slot, mark) = (std::mem::take(&mut self.slot), self.mark);
            runtime.spawn(async move {
                Self::give_back(&connector, &slot, &mark).await;
            });
        }
    }
}

/// A value in its stored form, or a `None`.
#[derive(Debug)]
pub(crate) enum Encoded {
    Value(Payload),
    None,
}

impl Encoded {
    fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    fn form(&self) -> Form {
        match self {
            Self::Value(payload) => payload.form,
            Self::None => Form::NONE,
        }
    }

    fn after(&self, header: &Header<'_>) -> Vec<u8> {
        let mut entry = header.encode();
        if let Self::Value(payload) = self {
            entry.extend_from_slice(&payload.bytes);
        }
        entry
    }
}

fn fill_script() -> &'static str {
    if sabotage::keeps(Rule::CompareAndFill) {
        FILL
    } else {
        "return redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])"
    }
}

/// 62 random bits: never the same twice, and far from the end of a signed 64-bit counter.
fn first_version() -> u64 {
    if !sabotage::keeps(Rule::RandomVersion) {
        return 1;
    }
    unique::number() >> 2
}

fn millis(duration: Duration) -> u64 {
    // One less than there are: the server counts whole ones, and serves through the last.
    let millis = duration.min(clock::FOREVER).as_millis().saturating_sub(1);
    u64::try_from(millis).unwrap_or(u64::MAX).max(1)
}

fn version(value: Value) -> Version {
    Version::read(bytes(value).as_deref())
}

/// The versions in the replies to `version.lua`; `None` if one of them is a fence.
fn versions(replies: impl Iterator<Item = Value>, key: &Key) -> Result<Option<Vec<u64>>, Error> {
    let replies: Vec<_> = replies.map(version).collect();
    if replies.contains(&Version::Fence) {
        return Ok(None);
    }
    let versions: Option<Vec<_>> = replies.into_iter().map(Version::number).collect();
    versions.map(Some).ok_or_else(|| {
        let reason = "the version of one of its tags is not a number; invalidate the tags";
        Error::codec(key.as_str(), "stored", &reason)
    })
}

fn describe(address: &ConnectionAddr) -> String {
    match address {
        ConnectionAddr::Tcp(host, port) => format!("{host}:{port}"),
        other => other.to_string(),
    }
}
