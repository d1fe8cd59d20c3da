//! What a load holds of its slot: the lease that stands there, or the entry that it is to replace. It is asked
//! for, renewed, and replaced by an entry or given back.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::connector::Connector;
use super::entry::{LeaseToken, Mark};
use super::notice::Notice;
use crate::clock;
use crate::driver::Operation;
use crate::fallback;
use crate::key::Key;
use crate::sabotage::{self, Rule};

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

/// A lease that may stand in a slot. If it is dropped and not settled, it is given back.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) connector: Arc<Connector>,
    pub(super) slot: String,
    /// With which bytes the slot begins: those of the lease, or the mark of an entry.
    start: Vec<u8>,
    /// Whether this is an entry: it is not renewed, and stays unless it is replaced.
    is_entry: bool,
    /// How long it lives without being renewed.
    pub(super) duration: Duration,
    /// Whether it was used, given back, or never taken. Then `Drop` does nothing.
    is_settled: AtomicBool,
    /// Of a refresh lock, how its load failed: what is put in its place.
    failure: OnceLock<(&'static str, u64)>,
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

    pub(super) fn renewal(&self) -> Operation {
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
