//! After a look: which load a call waits for, and what it takes before it loads itself.

use std::pin::pin;
use std::time::{Duration, Instant};

use super::Shared;
use super::entry::{self, LeaseToken, Mark, Slot};
use super::hold::Hold;
use super::lease::{Lease, LeaseEvidence, LeaseSeen};
use super::look::ServerLook;
use super::versions::{numbers, version};
use crate::call::site::CallSite;
use crate::clock;
use crate::driver::{Operation, Reply};
use crate::error::Error;
use crate::flight::{Leader, Seat};
use crate::sabotage::{self, Rule};
use crate::tier::{Boarded, Evidence, Query};

const HOLD: &str = include_str!("scripts/hold.lua");

/// A refresh leaves an entry in its slot if it is served for at least this long, or for so many times
/// as long as the loads of its function usually take. Else it takes a lease.
const LEAST_LEFT: Duration = Duration::from_secs(1);
const USUAL_LOADS_LEFT: u32 = 2;

/// What a look means for a call that was not answered by it.
pub(super) enum Decision {
    /// What is loaded now may not be stored.
    Unstored,
    /// The flight that the call boards, or leads.
    Seat(Seat<Evidence>),
    /// Versions are absent, without which nothing can be shared.
    DrawVersions,
    /// The call loads, for all that board this flight, beside an old entry.
    Beside(Leader<Evidence>),
    /// The load in this process has asked for other tags than the call.
    LookAgain,
}

/// How a request for a lease ends.
pub(super) enum Acquired {
    Lease(Evidence),
    /// The slot has changed since the look.
    Taken,
    /// A tag has a fence: what is loaded now is not to be stored.
    Fenced,
}

/// How a refresh finds the entry that is there.
enum Held {
    /// It stays, and a load may replace it.
    Entry(Evidence),
    /// It ends too soon.
    Ends,
    /// The slot has changed since the look.
    Changed,
    /// A tag has a fence: what is loaded now is not to be stored.
    Fenced,
}

impl Shared {
    /// After a look: joins the load that is under way, or takes the lease.
    pub(super) async fn board_at_server(
        &self,
        query: &Query,
        look: Box<ServerLook>,
        until: Instant,
    ) -> Boarded {
        match self.decide(query, &look) {
            Decision::Unstored => Boarded::Unstored,
            Decision::LookAgain => Boarded::LookAgain,
            Decision::DrawVersions => self.draw_versions(query, &look, until).await,
            Decision::Beside(leader) => self.lead_beside(query, leader, look, until).await,
            Decision::Seat(Seat::Lead(leader)) if leader.is_boarding() => {
                self.lead(query, leader, &look, until).await
            }
            Decision::Seat(seat) => seated(seat),
        }
    }

    /// What a look means for a call: whether it boards a flight, and which.
    pub(super) fn decide(&self, query: &Query, look: &ServerLook) -> Decision {
        match look.slot {
            // A fence spans the commit, so of two callers that saw it, one may predate the commit.
            _ if look.is_fenced() => Decision::Unstored,
            // This process is the older one of a rolling deploy. What it stored would be replaced by
            // the next call of the newer one, and so on at each call.
            Slot::Entry(ref entry) if look.belongs_to_newer(query, entry) => Decision::Unstored,
            Slot::Lease(token) if !look.is_of_another_server(token) => {
                match look.lease_seen(token.mark) {
                    Some(seen) => self.decide_at_lease(query, token, seen),
                    None => Decision::DrawVersions,
                }
            }
            Slot::Entry(ref entry) if look.is_old(query, entry) => {
                match look.lease_seen(entry.mark) {
                    Some(seen) => self.decide_beside(query, seen),
                    None => Decision::DrawVersions,
                }
            }
            // Absent, dead or unreadable: this process loads.
            _ => Decision::Seat(self.flights.board(&query.key, None)),
        }
    }

    /// Joins the load beside the entry that the call has seen.
    fn decide_beside(&self, query: &Query, seen: LeaseSeen) -> Decision {
        let evidence = Evidence::Shared(Box::new(LeaseEvidence { seen, lease: None }));
        let mut shard = self.flights.lock(&query.key);
        match shard.join(&query.key, Some(&evidence)) {
            Some(seat) => Decision::Seat(seat),
            None => Decision::Beside(shard.start(&query.key, None)),
        }
    }

    /// Joins the load that holds the lease. If this cache took the lease, and none of its loads holds
    /// it with these versions, replaces it.
    fn decide_at_lease(&self, query: &Query, token: LeaseToken, seen: LeaseSeen) -> Decision {
        if query.learns_tags
            && let Some(tags) = self.tags_of_flight(query, &seen)
        {
            self.remembered.set(&query.key, &tags);
            // Unless they are too many to be remembered.
            let remembered = self.remembered.get(&query.key);
            if remembered.as_deref().unwrap_or_default() == tags {
                return Decision::LookAgain;
            }
        }
        let evidence = Evidence::Shared(Box::new(LeaseEvidence { seen, lease: None }));
        if token.owner != self.owner.here() || !sabotage::keeps(Rule::DeadLease) {
            return Decision::Seat(self.flights.board_watch(&query.key, evidence));
        }
        let mut shard = self.flights.lock(&query.key);
        let joined = shard.join(&query.key, Some(&evidence));
        Decision::Seat(joined.unwrap_or_else(|| Seat::Lead(shard.start(&query.key, None))))
    }

    /// Asks for the lease, for all callers that board before the load begins.
    async fn lead(
        &self,
        query: &Query,
        mut leader: Leader<Evidence>,
        look: &ServerLook,
        until: Instant,
    ) -> Boarded {
        let span = self.span("lease", "EVAL", Some(query));
        let acquired = pin!(Self::in_span(span, self.acquire(query, look, until)));
        match leader.follow(acquired).await {
            Ok(Acquired::Lease(evidence)) => leader.begin(Some(evidence)),
            Ok(Acquired::Taken) => {
                leader.finish();
                return Boarded::LookAgain;
            }
            Ok(Acquired::Fenced) => leader.begin(None),
            Err(error) => {
                self.degrade(query, &error);
                leader.begin(None);
            }
        }
        Boarded::Lead(leader)
    }

    /// Takes the lease on a slot that still holds what the look showed, and then reads the
    /// tags' versions, in one round trip: both before the load begins.
    async fn acquire(
        &self,
        query: &Query,
        look: &ServerLook,
        until: Instant,
    ) -> Result<Acquired, Error> {
        let Some(seen) = look.slot.start() else {
            return Ok(Acquired::Fenced);
        };
        let mut lease = self.lease_to_take(query, look);
        let versions = self.read_versions(look.tags(query), query.longest_life());
        let acquire: Vec<_> = std::iter::once(lease.hold.taking(seen))
            .chain(versions)
            .collect();
        let replies = self
            .connector
            .run_over_until(&look.witness, acquire, until)
            .await?;
        let mut replies = replies.into_iter();
        if replies.next() != Some(Reply::Number(1)) {
            lease.hold.settle();
            return Ok(Acquired::Taken);
        }
        // Behind a fence, the lease is given back.
        let Some(versions) = numbers(replies.map(version), &query.key)? else {
            return Ok(Acquired::Fenced);
        };
        lease.versions = versions;
        Ok(Acquired::Lease(lease.into_evidence()))
    }

    /// A lease that is to be asked for, whose versions are not known yet.
    pub(super) fn lease_to_take(&self, query: &Query, look: &ServerLook) -> Lease {
        let slot = self.keyspace.slot(&query.key);
        let token = LeaseToken::new(self.owner.here(), look.witness.slot_epoch());
        Lease {
            mark: token.mark,
            hold: Hold::new(&self.connector, slot, token, self.lease),
            lock: None,
            witness: look.witness.clone(),
            tags: look.tags(query).to_vec(),
            versions: Vec::new(),
            asked: look.tags.clone(),
        }
    }

    /// Boards for a call that loads whatever the slot holds. An entry that may be served stays in its
    /// slot, so that other callers are served, and a load that fails leaves it there.
    pub(super) async fn board_refresh_at_server(&self, query: &Query, until: Instant) -> Boarded {
        let look = match self.look_to_refresh(query, until).await {
            Ok(Some(look)) => look,
            Ok(None) => {
                self.distrusted(query);
                return Boarded::Unstored;
            }
            Err(error) => {
                self.degrade(query, &error);
                return Boarded::Unstored;
            }
        };
        if look.is_fenced() {
            return Boarded::Unstored;
        }
        if let Slot::Entry(entry) = &look.slot
            && look.belongs_to_newer(query, entry)
        {
            return Boarded::Unstored;
        }
        if let Slot::Entry(entry) = &look.slot
            && look.serves_to(query, entry)
        {
            match self.hold_entry(query, entry.mark, &look, until).await {
                Ok(Held::Entry(evidence)) => {
                    let mut shard = self.flights.lock(&query.key);
                    return Boarded::Lead(shard.start(&query.key, Some(evidence)));
                }
                Ok(Held::Ends) => {}
                Ok(Held::Changed) => return Boarded::LookAgain,
                Ok(Held::Fenced) => return Boarded::Unstored,
                Err(error) => {
                    self.degrade(query, &error);
                    return Boarded::Unstored;
                }
            }
        }
        // A load that holds the lease may have begun before this call: its lease is replaced.
        match self.flights.board(&query.key, None) {
            Seat::Lead(leader) if leader.is_boarding() => {
                self.lead(query, leader, &look, until).await
            }
            seat => seated(seat),
        }
    }

    /// Makes a valid entry the one that a load is to replace, and then reads the tags' versions, in one
    /// round trip: both before the load begins.
    async fn hold_entry(
        &self,
        query: &Query,
        entry: Mark,
        look: &ServerLook,
        until: Instant,
    ) -> Result<Held, Error> {
        let slot = self.keyspace.slot(&query.key);
        let mark = entry::new_mark_of(entry);
        let usual = query.site.map_or(Duration::ZERO, CallSite::usual_load);
        let enough = LEAST_LEFT.max(usual.saturating_mul(USUAL_LOADS_LEFT));
        let hold = Operation::script(HOLD, slot.clone()).with([
            entry.as_slice().into(),
            mark.as_slice().into(),
            clock::millis(enough).into(),
        ]);
        let tags = look.tags(query);
        let versions = self.read_versions(tags, query.longest_life());
        let operations: Vec<_> = std::iter::once(hold).chain(versions).collect();
        let replies = self
            .connector
            .run_over_until(&look.witness, operations, until)
            .await?;
        let mut replies = replies.into_iter();
        let answer = replies.next().and_then(Reply::bytes);
        match answer.as_deref() {
            Some(b"held") => {}
            Some(b"ends") => return Ok(Held::Ends),
            _ => return Ok(Held::Changed),
        }
        let Some(versions) = numbers(replies.map(version), &query.key)? else {
            return Ok(Held::Fenced);
        };
        let lease = Lease {
            mark,
            hold: Hold::of_entry(&self.connector, slot, mark),
            lock: None,
            witness: look.witness.clone(),
            tags: tags.to_vec(),
            versions,
            asked: look.tags.clone(),
        };
        Ok(Held::Entry(lease.into_evidence()))
    }

    /// Callers that saw an absent version share nothing that an invalidation would have
    /// changed. So they give each tag a version first, and look again.
    async fn draw_versions(&self, query: &Query, look: &ServerLook, until: Instant) -> Boarded {
        let draw: Vec<_> = self
            .read_versions(look.tags(query), query.longest_life())
            .collect();
        let replies = self.connector.run_over_until(&look.witness, draw, until);
        let replies = replies.await;
        match replies.and_then(|replies| numbers(replies.into_iter().map(version), &query.key)) {
            Ok(_) => Boarded::LookAgain,
            Err(error) => {
                self.degrade(query, &error);
                Boarded::Unstored
            }
        }
    }
}

/// What a call does that has boarded a flight, and need not ask for a lease.
pub(super) fn seated(seat: Seat<Evidence>) -> Boarded {
    match seat {
        Seat::Wait(waiter) => Boarded::Wait(waiter),
        Seat::Lead(leader) if leader.is_watch() => Boarded::Watch(leader),
        Seat::Lead(leader) => Boarded::Lead(leader),
    }
}
