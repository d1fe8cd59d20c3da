//! The right to fill one slot, once: by replacing a lease or, for a refresh, the entry that is served
//! until then.

use std::convert::Infallible;
use std::mem;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::connector::Connector;
use super::entry::{Encoded, Header, LeaseToken, Mark, ToldTags};
use super::notice::Notice;
use super::witness::Witness;
use super::{LeaseEvidence, LeaseSeen, value_type};
use crate::clock;
use crate::driver::{Operation, Reply};
use crate::error::Error;
use crate::fallback;
use crate::join;
use crate::key::{Key, on_server};
use crate::sabotage::{self, Rule};
use crate::tier::{Evidence, Query};
use crate::unique;

const LEASE: &str = include_str!("scripts/lease.lua");
const LEASE_MANY: &str = include_str!("scripts/lease_many.lua");
const FILL: &str = include_str!("scripts/fill.lua");
const FILL_MANY: &str = include_str!("scripts/fill_many.lua");
const RENEW: &str = include_str!("scripts/renew.lua");
const FAIL: &str = include_str!("scripts/fail.lua");
const RELEASE: &str = include_str!("scripts/release.lua");

/// The pause between two tries to give a lease back: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Whose leases are this cache's: a number that was drawn at random for the cache, and the process.
#[derive(Debug)]
pub(super) struct Owner(u64);

impl Owner {
    pub(super) fn new() -> Self {
        Self(unique::number())
    }

    /// The owner that this process writes into its leases. A forked process has a copy of the cache
    /// and none of its loads, so it must not take a lease of its parent for one that no load holds.
    ///
    /// The copies of a virtual machine cannot be told apart: one may replace the lease of another.
    /// That costs a load, and the fill of the other is refused.
    pub(super) fn here(&self) -> u64 {
        if sabotage::keeps(Rule::Forks) {
            self.0 ^ u64::from(process::id())
        } else {
            self.0
        }
    }
}

/// The right to fill one slot, once.
#[derive(Debug)]
pub(crate) struct Lease {
    /// With which bytes it, or the entry that it stands for, begins.
    pub(super) mark: Mark,
    pub(super) hold: Hold,
    /// The lock under which an entry that is served meanwhile is refreshed.
    pub(super) lock: Option<Hold>,
    /// The connection over which it was taken. The entry names the server behind it.
    pub(super) witness: Witness,
    /// The tags, with the versions that they had before the load.
    pub(super) tags: Vec<Key>,
    pub(super) versions: Vec<u64>,
    /// The same tags, where only the value tells all of them: as those of a look.
    pub(super) asked: Option<Vec<Key>>,
}

/// The tags of an entry whose value has told some of them.
#[derive(Debug)]
pub(super) struct Told {
    /// First those that were known before the load.
    pub(super) tags: Vec<Key>,
    /// The versions from before the load; 0 for each, where one of them was not read.
    pub(super) versions: Vec<u64>,
    /// Of the servers of the slot and of these versions.
    pub(super) epoch: u64,
    /// Whether all versions were read before the load.
    pub(super) is_covered: bool,
}

/// A lease that may stand in a slot. If it is dropped and not settled, it is given back.
#[derive(Debug)]
pub(super) struct Hold {
    connector: Arc<Connector>,
    slot: String,
    /// With which bytes the slot begins: those of the lease, or the mark of an entry.
    start: Vec<u8>,
    /// Whether this is an entry: it is not renewed, and stays unless it is replaced.
    is_entry: bool,
    /// How long it lives without being renewed.
    duration: Duration,
    /// Whether it was used, given back, or never taken. Then `Drop` does nothing.
    is_settled: AtomicBool,
    /// Of a refresh lock, how its load failed: what is put in its place.
    failure: OnceLock<(&'static str, u64)>,
}

impl Lease {
    /// The slot that it is the right to fill.
    pub(super) fn slot(&self) -> &str {
        &self.hold.slot
    }

    /// What its caller saw, with the lease.
    pub(super) fn into_evidence(self) -> Evidence {
        let seen = LeaseSeen {
            mark: self.mark,
            epoch: self.witness.epoch(),
            tags: self.asked.clone(),
            versions: self.versions.clone(),
        };
        let lease = Some(self);
        Evidence::Shared(Box::new(LeaseEvidence { seen, lease }))
    }

    /// Runs `first`, and replaces the lease by an entry; false if the slot no longer holds it. With what
    /// the value has told, the entry has those tags.
    pub(super) async fn fill(
        &self,
        first: Vec<Operation>,
        query: &Query,
        value: &Encoded,
        told: Option<&Told>,
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
        told: Option<&Told>,
        ttl: Duration,
        cost: Duration,
    ) -> Operation {
        let entry = self.entry(query, value, told, cost, ttl);
        self.hold.filling(&query.key, entry, query.life(ttl))
    }

    /// The entry that replaces the lease.
    pub(super) fn entry(
        &self,
        query: &Query,
        value: &Encoded,
        told: Option<&Told>,
        cost: Duration,
        ttl: Duration,
    ) -> Vec<u8> {
        let (tags, versions) = match told {
            None => (&self.tags, &self.versions),
            Some(told) => (&told.tags, &told.versions),
        };
        value.after(&Header {
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

/// An entry as it is written, and how long it may be served.
pub(super) type NewEntry = (Vec<u8>, Duration);

/// What asks for leases on slots of one server that still hold what was seen: see `lease_many.lua`.
pub(super) fn take_all<'a>(asked: &[(&'a [u8], &'a Hold)]) -> Operation {
    let shortest = asked.iter().map(|(_, hold)| hold.duration).min();
    let mut arguments = Vec::with_capacity(1 + 2 * asked.len());
    arguments.push(server_ttl(shortest.unwrap_or_default()).into());
    for (seen, hold) in asked {
        arguments.extend([(*seen).into(), hold.start.as_slice().into()]);
    }
    let slots = asked.iter().map(|(_, hold)| hold.slot.clone());
    Operation::script_on_all(LEASE_MANY, slots, arguments)
}

/// What replaces leases in slots of one server by entries, or gives them back where there is no entry:
/// see `fill_many.lua`.
pub(super) fn end_all(ends: Vec<(&Hold, Option<NewEntry>)>) -> Operation {
    let slots: Vec<_> = ends.iter().map(|(hold, _)| hold.slot.clone()).collect();
    let mut arguments = Vec::with_capacity(3 * ends.len());
    for (hold, entry) in ends {
        let (entry, ttl) = entry.unwrap_or_default();
        arguments.extend([
            hold.start.as_slice().into(),
            entry.into(),
            server_ttl(ttl).into(),
        ]);
    }
    let script = sabotage::fill_many_script(FILL_MANY);
    Operation::script_on_all(script, slots, arguments)
}

/// Renews leases for as long as it is polled, up to `limit`.
pub(super) async fn renew(leases: &[&Lease], limit: Duration) -> Infallible {
    let mut groups: Vec<(Witness, Vec<&Hold>)> = Vec::new();
    let mut shortest = None::<Duration>;
    for lease in leases {
        for hold in std::iter::once(&lease.hold).chain(&lease.lock) {
            if !hold.is_entry {
                shortest = Some(shortest.map_or(hold.duration, |it| it.min(hold.duration)));
                Witness::group(&mut groups, &lease.witness, hold);
            }
        }
    }
    let pause = (shortest.unwrap_or_default() / 3).max(Duration::from_millis(1));
    let mut renewed = Duration::ZERO;
    // Without a runtime there is no server.
    while !groups.is_empty() && renewed < limit && Handle::try_current().is_ok() {
        clock::pause(pause).await;
        renewed += pause;
        let requests = groups.iter().map(|(witness, holds)| async move {
            let renewals = holds.iter().map(|hold| hold.renewal());
            // A renewal that fails is followed by another, or the lease expires.
            let connector = holds.first().map(|hold| &hold.connector)?;
            connector.run_over(witness, renewals.collect()).await.ok()
        });
        join::all(requests).await;
    }
    std::future::pending().await
}

/// Replaces what begins with `seen`, a lease or the mark of an entry, by an entry.
pub(super) fn fill(slot: String, seen: &[u8], entry: Vec<u8>, ttl: Duration) -> Operation {
    Operation::script(sabotage::fill_script(FILL), slot).with([
        seen.into(),
        entry.into(),
        server_ttl(ttl).into(),
    ])
}

impl Hold {
    /// To be made before the lease is asked for: from then on it may stand in the slot, whether or
    /// not the answer arrives.
    pub(super) fn new(
        connector: &Arc<Connector>,
        slot: String,
        token: LeaseToken,
        duration: Duration,
    ) -> Self {
        Self {
            connector: connector.clone(),
            slot,
            start: token.to_bytes().into(),
            is_entry: false,
            duration,
            is_settled: AtomicBool::new(false),
            failure: OnceLock::new(),
        }
    }

    /// An entry that a refresh is to replace. If the load fails, it stays.
    pub(super) fn of_entry(connector: &Arc<Connector>, slot: String, mark: Mark) -> Self {
        Self {
            connector: connector.clone(),
            slot,
            start: mark.into(),
            is_entry: true,
            duration: Duration::ZERO,
            is_settled: AtomicBool::new(true),
            failure: OnceLock::new(),
        }
    }

    /// What puts the lease into a slot that still holds what was seen.
    pub(super) fn taking(&self, seen: &[u8]) -> Operation {
        Operation::script(LEASE, self.slot.clone()).with([
            seen.into(),
            self.start.as_slice().into(),
            server_ttl(self.duration).into(),
        ])
    }

    /// What replaces the lease by this entry. If it replaces an entry, processes may have copies of that.
    pub(super) fn filling(&self, key: &Key, entry: Vec<u8>, ttl: Duration) -> Operation {
        let fill = fill(self.slot.clone(), &self.start, entry, ttl);
        if self.is_entry {
            let notice = Notice::Entry(key.on_server().into_owned());
            self.connector.keyspace().publishing(fill, &notice)
        } else {
            fill
        }
    }

    /// Whether it stands for an entry, which stays unless it is replaced.
    pub(super) fn is_entry(&self) -> bool {
        self.is_entry
    }

    fn renewal(&self) -> Operation {
        let arguments = [
            self.start.as_slice().into(),
            server_ttl(self.duration).into(),
        ];
        Operation::script(RENEW, self.slot.clone()).with(arguments)
    }

    /// What gives the lease back, or removes the entry.
    pub(super) fn giving_back(&self) -> Operation {
        giving_back(&self.slot, &self.start)
    }

    /// Gives the lease back, or removes the entry: the value that was to replace it is not stored. If
    /// that fails, `Drop` tries again to give a lease back.
    pub(super) async fn release(&self) {
        if give_back(&self.connector, &self.slot, &self.start).await {
            self.settle();
        }
    }

    /// Has a refresh lock be replaced by the mark of a load that failed, where it would be given back.
    pub(super) fn fail(&self, failure: (&'static str, u64)) {
        let _ = self.failure.set(failure);
    }

    /// Marks the lease as one that `Drop` need not give back.
    pub(super) fn settle(&self) {
        self.is_settled.store(true, Ordering::Relaxed);
    }
}

/// Over any connection: no other lease on any server has this mark, and the connection that it
/// was taken over may be what failed. Returns whether the lease went back.
async fn give_back(connector: &Arc<Connector>, slot: &str, start: &[u8]) -> bool {
    connector.run(vec![giving_back(slot, start)]).await.is_ok()
}

fn giving_back(slot: &str, start: &[u8]) -> Operation {
    Operation::script(RELEASE, slot.to_owned()).with([start.into()])
}

/// A lease that goes back as soon as the server can be reached: until then, other processes wait
/// for it.
struct Abandoned {
    failure: Option<(&'static str, u64)>,
    connector: Arc<Connector>,
    slot: String,
    /// The bytes of the lease.
    start: Vec<u8>,
    /// After this time it has expired.
    duration: Duration,
    /// Whether it went back or has expired, or another try has taken its place.
    is_done: bool,
}

impl Abandoned {
    async fn keep_giving_back(mut self) {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        while !self.give_back().await
            && began.elapsed() < self.duration
            && sabotage::keeps(Rule::GiveBackLater)
        {
            clock::pause(clock::around(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.is_done = true;
    }

    async fn give_back(&self) -> bool {
        let Some((mark, millis)) = self.failure else {
            return give_back(&self.connector, &self.slot, &self.start).await;
        };
        let fail = Operation::script(FAIL, self.slot.clone()).with([
            self.start.as_slice().into(),
            mark.as_bytes().into(),
            millis.into(),
        ]);
        self.connector.run(vec![fail]).await.is_ok()
    }

    /// Goes on on a thread, with a connection of its own. If there is no thread to be had, the lease
    /// expires.
    fn keep_giving_back_on_a_thread(mut self) {
        // No further try takes the place of this one.
        self.is_done = true;
        fallback::run(self.keep_giving_back());
    }
}

/// The runtime of the task was shut down: a thread takes its place.
impl Drop for Abandoned {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let abandoned = Self {
            connector: self.connector.clone(),
            slot: mem::take(&mut self.slot),
            start: mem::take(&mut self.start),
            ..*self
        };
        abandoned.keep_giving_back_on_a_thread();
    }
}

/// A load that failed, or a caller that was cancelled or panicked, with no waiter to take over. Or
/// the entry could not be written.
impl Drop for Hold {
    fn drop(&mut self) {
        if self.is_settled.load(Ordering::Relaxed) {
            return;
        }
        let abandoned = Abandoned {
            connector: self.connector.clone(),
            slot: mem::take(&mut self.slot),
            start: mem::take(&mut self.start),
            duration: self.duration,
            failure: self.failure.get().copied(),
            is_done: false,
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(abandoned.keep_giving_back())),
            Err(_) => abandoned.keep_giving_back_on_a_thread(),
        }
    }
}

/// A ttl as the server keeps it: a millisecond less, since it serves through the last one.
pub(super) fn server_ttl(ttl: Duration) -> u64 {
    clock::millis(ttl.min(clock::FOREVER))
        .saturating_sub(1)
        .max(1)
}
