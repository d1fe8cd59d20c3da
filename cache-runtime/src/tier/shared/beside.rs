//! Loads beside an entry that stays in its slot: early refreshes, and those of entries past their ttl.
//!
//! ```text
//! lock     <ns>:r:{<ns>:e:<key>}   absent | owner | `failed` | `refused`
//! ```
//!
//! The *refresh lock* lets one caller of all processes load. It only spares loads: it may be lost at any
//! time. What keeps old data from being stored is what keeps it from being stored after any load: the
//! versions are read before it, and the fill replaces the entry with the mark that was seen and no other.
//! So an invalidation meanwhile, which removes the entry or moves a version on, wins.
//!
//! The lock is asked for before the entry is looked at once more. So a caller that gets it sees what the
//! last one that had it has stored.

use std::pin::pin;
use std::time::{Duration, Instant};

use super::Shared;
use super::board::seated;
use super::entry::{Entry, LeaseToken, Mark, Slot};
use super::hold::{Hold, server_ttl};
use super::lease::{Lease, LeaseEvidence};
use super::look::ServerLook;
use super::notice::Notice;
use super::versions::{numbers, version};
use crate::clock;
use crate::driver::{Operation, Reply};
use crate::error::Error;
use crate::flight::Leader;
use crate::freshness::{Age, Freshness, State};
use crate::key::Key;
use crate::sabotage::{self, Rule};
use crate::tier::{Beside, Boarded, Evidence, Found, Miss, Query};

const LOCK: &str = include_str!("scripts/lock.lua");
const REPLACE: &str = include_str!("scripts/replace.lua");

/// How often an entry that changes meanwhile is looked at, to end its ttl.
const TRIES_TO_EXPIRE: u32 = 3;

/// How a caller that would load beside an entry ends its preparations.
enum Prepared {
    /// It has the lock, and the versions.
    Lease(Evidence),
    /// Another caller has the lock.
    Held,
    Failed {
        left: Duration,
        excused: bool,
    },
    /// The entry was replaced or invalidated.
    Changed,
    /// What is loaded now may not be stored.
    Unstored,
}

impl ServerLook {
    /// What a call may do with a valid entry.
    pub(super) fn state(&self, query: &Query, entry: &Entry) -> State {
        if !entry.header.outlives {
            // It lives as long as its slot.
            return State::Fresh;
        }
        let freshness = query.fresh.as_ref().unwrap_or(&Freshness::NONE);
        freshness.of(entry.age_at(self.witness.now()))
    }

    /// Whether an entry is valid, and may be served only in the place of an error.
    pub(super) fn is_old(&self, query: &Query, entry: &Entry) -> bool {
        query.fresh.is_some()
            && self.serves_to(query, entry)
            && self.state(query, entry) == State::OnError
    }
}

impl Shared {
    /// Boards a refresh of an entry, if no other caller of this process or another does.
    pub(super) async fn refresh_beside(&self, query: &Query, seen: &Entry) -> Beside {
        let key = &query.key;
        if self.is_refreshed_here(key, seen.mark) {
            return Beside::Held;
        }
        let until = self.connector.deadline_from(None);
        match self.prepare(query, seen.mark, until).await {
            Ok(Prepared::Lease(evidence)) => {
                let mut shard = self.flights.lock(key);
                Beside::Lead(shard.start(key, Some(evidence)))
            }
            Ok(Prepared::Held) => Beside::Held,
            Ok(Prepared::Failed { left, excused }) => Beside::Failed { left, excused },
            Ok(Prepared::Changed | Prepared::Unstored) => Beside::Skip,
            Err(error) => {
                self.degrade(query, &error);
                Beside::Skip
            }
        }
    }

    /// Whether a load of this process is to replace the entry with this mark.
    fn is_refreshed_here(&self, key: &Key, mark: Mark) -> bool {
        let current = self.flights.lock(key).current(key);
        current.is_some_and(|(evidence, _)| match &*evidence {
            Evidence::Shared(evidence) => evidence.seen.mark == mark,
            Evidence::Local(_) => false,
        })
    }

    /// Leads the load of an entry that is served only in the place of an error, for all callers that board
    /// before that begins, and all that see the same entry with the same versions.
    pub(super) async fn lead_beside(
        &self,
        query: &Query,
        mut leader: Leader<Evidence>,
        look: Box<ServerLook>,
        until: Instant,
    ) -> Boarded {
        let Slot::Entry(entry) = &look.slot else {
            leader.finish();
            return Boarded::LookAgain;
        };
        let mark = entry.mark;
        let prepared = {
            let prepared = pin!(self.prepare(query, mark, until));
            leader.follow(prepared).await
        };
        match prepared {
            Ok(Prepared::Lease(evidence)) => leader.begin(Some(evidence)),
            Ok(Prepared::Held) => {
                leader.finish();
                return match look.lease_seen(mark) {
                    Some(seen) => {
                        let evidence = LeaseEvidence { seen, lease: None };
                        let evidence = Evidence::Shared(Box::new(evidence));
                        seated(self.flights.board_watch(&query.key, evidence))
                    }
                    None => Boarded::LookAgain,
                };
            }
            Ok(Prepared::Failed { excused: true, .. }) => {
                leader.finish();
                return old(*look);
            }
            // What is loaded now is not stored, and what is there stays.
            Ok(Prepared::Failed { excused: false, .. } | Prepared::Unstored) => leader.begin(None),
            Ok(Prepared::Changed) => {
                leader.finish();
                return Boarded::LookAgain;
            }
            Err(error) => {
                self.degrade(query, &error);
                leader.begin(None);
            }
        }
        Boarded::Lead(leader)
    }

    /// Takes the lock, looks whether the entry is still there and valid, and reads the versions: all before
    /// the load begins. Whatever happens then, the lock is given back when the evidence is dropped.
    async fn prepare(&self, query: &Query, mark: Mark, until: Instant) -> Result<Prepared, Error> {
        let key = self.keyspace.lock(&query.key);
        let token = LeaseToken::new(self.owner.here(), 0);
        let right = Hold::new(&self.connector, key.clone(), token, self.lease);
        let take = Operation::script(LOCK, key).with([
            token.to_bytes().as_slice().into(),
            server_ttl(self.lease).into(),
        ]);
        let (_, replies) = self.connector.run_to_store(vec![take]).await?;
        match replies.first() {
            Some(Reply::Number(1)) => {}
            Some(&Reply::Number(failed)) if failed < 0 => {
                right.settle();
                let left = Duration::from_millis(failed.unsigned_abs() / 2);
                let excused = failed % 2 == 0;
                return Ok(Prepared::Failed { left, excused });
            }
            _ if sabotage::keeps(Rule::RefreshLock) => {
                right.settle();
                return Ok(Prepared::Held);
            }
            _ => {}
        }
        let Some(look) = self.look_to_refresh(query, until).await? else {
            self.distrusted(query);
            return Ok(Prepared::Unstored);
        };
        if look.is_fenced() {
            return Ok(Prepared::Unstored);
        }
        match &look.slot {
            Slot::Entry(entry) if entry.mark == mark && look.serves_to(query, entry) => {}
            _ => return Ok(Prepared::Changed),
        }
        let tags = look.tags(query);
        let read: Vec<_> = self.read_versions(tags, query.longest_life()).collect();
        let mut versions = Vec::new();
        if !read.is_empty() {
            let replies = self.connector.run_over_until(&look.witness, read, until);
            let replies = replies.await?.into_iter();
            match numbers(replies.map(version), &query.key)? {
                Some(numbers) => versions = numbers,
                None => return Ok(Prepared::Unstored),
            }
        }
        let slot = self.keyspace.slot(&query.key);
        let lease = Lease {
            mark,
            hold: Hold::of_entry(&self.connector, slot, mark),
            lock: Some(right),
            tags: tags.to_vec(),
            versions,
            asked: look.tags.clone(),
            witness: look.witness,
        };
        Ok(Prepared::Lease(lease.into_evidence()))
    }

    /// The valid entry of a call, however old it is, as long as it may be served in the place of an error.
    pub(super) async fn find_old_entry(&self, query: &Query) -> Option<Found> {
        let until = self.connector.deadline_from(None);
        let look = match self.look_to_refresh(query, until).await {
            Ok(look) => look?,
            Err(error) => {
                self.degrade(query, &error);
                return None;
            }
        };
        match &look.slot {
            Slot::Entry(entry)
                if look.serves_to(query, entry) && look.state(query, entry) < State::Gone => {}
            _ => return None,
        }
        let now = look.witness.now();
        match look.slot {
            Slot::Entry(mut entry) => {
                entry.seen_at = now;
                Some(Found::Encoded(entry))
            }
            _ => None,
        }
    }

    /// Whether a caller still has the refresh lock of the entry that a miss has shown. True for any other
    /// miss.
    pub(super) async fn is_locked(&self, query: &Query, miss: &Miss) -> bool {
        match miss {
            Miss::AtServer(look) if matches!(look.slot, Slot::Entry(_)) => {}
            _ => return true,
        }
        let key = self.keyspace.lock(&query.key);
        let read = self.connector.run(vec![Operation::Read { key }]).await;
        let Ok((_, replies)) = read else {
            return true;
        };
        let held = replies.into_iter().next().and_then(|reply| match reply {
            Reply::List(values) => values.into_iter().next().and_then(Reply::bytes),
            reply => reply.bytes(),
        });
        held.is_some_and(|held| held != b"failed" && held != b"refused")
    }

    /// Ends the ttl of an entry. One that is kept for no longer than that is removed, and so is a lease: what
    /// is loaded under it is from before.
    pub(super) async fn expire_entry(&self, key: &Key) -> Result<(), Error> {
        for _ in 0..TRIES_TO_EXPIRE {
            let look = self.look_at_server(key, &[], None).await?;
            let Slot::Entry(entry) = &look.slot else {
                break;
            };
            if !entry.header.outlives || !entry.is_of(key) {
                break;
            }
            let expired = entry.expired(look.witness.now());
            let replace = Operation::script(REPLACE, self.keyspace.slot(key))
                .with([entry.mark.as_slice().into(), expired.into()]);
            let notice = Notice::Entry(key.on_server().into_owned());
            let replace = self.keyspace.publishing(replace, &notice);
            let replies = self.connector.run_over(&look.witness, vec![replace]);
            if replies.await?.first() == Some(&Reply::Number(1)) {
                return Ok(());
            }
        }
        self.connector.run(vec![self.keyspace.unlink(key)]).await?;
        Ok(())
    }
}

impl Entry {
    /// How old it is when the clock of its slot's server shows `now`.
    pub(super) fn age_at(&self, now: u64) -> Age {
        Age {
            since_created: self.age(now),
            ttl: Duration::from_millis(self.header.ttl),
            cost: Duration::from_micros(self.header.cost.into()),
        }
    }

    /// How old it was when a look showed it.
    pub(super) fn age_when_seen(&self) -> Age {
        let mut age = self.age_at(self.seen_at);
        if !self.header.outlives {
            // It is there, so its ttl has not ended, whatever the clocks say.
            let last = age.ttl.saturating_sub(Duration::from_millis(1));
            age.since_created = age.since_created.min(last);
        }
        age
    }
}

/// The entry that a look has shown.
fn old(look: ServerLook) -> Boarded {
    let now = look.witness.now();
    match look.slot {
        Slot::Entry(mut entry) => {
            entry.seen_at = now;
            Boarded::Old(Box::new(Found::Encoded(entry)))
        }
        _ => Boarded::LookAgain,
    }
}

/// For how long a load that failed is not tried again, as the mark of it says.
pub(super) fn failure(pause: Duration, excused: bool) -> (&'static str, u64) {
    let text = if excused { "failed" } else { "refused" };
    (text, clock::millis(pause).max(1))
}
