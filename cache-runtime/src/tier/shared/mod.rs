//! The shared tier: the protocol on a Redis or Valkey server.
//!
//! ```text
//! slot     <ns>:e:<key>   absent | lease | entry | fence
//! version  <ns>:v:<tag>   absent | number | fence    a number is drawn at random, then counted up
//! ```
//!
//! An entry is not served while the version of one of its tags is absent. So a version may be lost
//! (evicted, expired, flushed) at any time: the entries that it guarded become misses.
//!
//! A [`lease`] is the right of one caller to fill the slot. A [`fence`] stands while writers are at
//! work, and has a deadline for each of them. The [`journal`] keeps the names whose invalidation
//! failed. The [`connector`] decides which connection a request takes, with its [`breaker`] and its
//! [`keeper`]. [`batch`] lets concurrent reads share round trips.

mod announcement;
mod batch;
mod beside;
mod breaker;
mod cluster;
mod connector;
mod entry;
mod fence;
mod hearing;
mod inspect;
mod journal;
mod keeper;
mod keyspace;
mod lease;
mod load_many;
mod many;
mod node;
mod notice;
mod parts;
mod plain;
mod raw;
mod selection;
mod walk;
mod window;
mod witness;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{Instrument as _, Span};

pub(crate) use self::breaker::Limits;
use self::connector::Connector;
use self::entry::{ANY_TYPE, Header, LeaseToken, Slot, Source, ToldTags, Version};
pub(crate) use self::entry::{Encoded, Entry, Mark};
pub use self::entry::{decode_entry, encode_entry};
use self::journal::Heard;
#[cfg(all(test, shuttle))]
pub(crate) use self::journal::Journal;
use self::keyspace::Keyspace;
pub(crate) use self::lease::Lease;
use self::lease::{Hold, Owner, Told, server_ttl};
use self::many::Setting;
pub(crate) use self::notice::Notice;
pub use self::parts::{EntryParts, SlotParts, slot_parts};
pub(crate) use self::raw::ScannedServers;
use self::selection::Selection;
use self::witness::{Looked, Witness};
use super::remembered::Remembered;
use super::{
    About, Beside, Boarded, Evidence, Fill, Filled, Filling, Found, Look, MaybeReady, Miss, Query,
    Renewal, Store, Waiting,
};
use crate::backlog::Buckets;
use crate::call::site::CallSite;
use crate::clock;
use crate::codec::{self, Payload, Reason};
use crate::driver::{Connection, Operation, Reply, Servers, Trusts};
use crate::error::Error;
use crate::flight::{Claim, Flights, Leader, Seat};
use crate::freshness::{Age, Freshness};
use crate::health::Status;
use crate::inspection::{Inspection, StoreState};
use crate::key::{Key, Pattern, on_server};
use crate::missed::MissReason;
use crate::observe::{Event, Observer, spans};
use crate::removal::Removal;
use crate::sabotage::{self, Rule};
use crate::unique;

const VERSION: &str = include_str!("scripts/version.lua");
const EXTEND: &str = include_str!("scripts/extend.lua");
const SEIZE: &str = include_str!("scripts/seize.lua");
const HOLD: &str = include_str!("scripts/hold.lua");

/// A refresh leaves an entry in its slot if it is served for at least this long, or for so many times
/// as long as the loads of its function usually take. Else it takes a lease.
const LEAST_LEFT: Duration = Duration::from_secs(1);
const USUAL_LOADS_LEFT: u32 = 2;

/// How much longer than its entries a version lives. The load comes between the two: the version is
/// drawn before it, and the entry is stored after it.
const VERSION_MARGIN: Duration = Duration::from_secs(600);

/// How often a flush makes sure that a keeper runs.
const FLUSH_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Shared {
    connector: Arc<Connector>,
    keyspace: Keyspace,
    owner: Owner,
    /// How long a lease lives without being renewed.
    lease: Duration,
    /// How long a lease lives for a value that is set by hand: as long as its two requests may take.
    /// No load comes between them. If the call is set aside there, others wait no longer than this.
    lease_by_hand: Duration,
    flights: Flights<Evidence>,
    /// The tags that values last told, by the names that servers know.
    remembered: Remembered,
    observer: Observer,
}

/// What one look at the server showed.
#[derive(Debug)]
pub(crate) struct ServerLook {
    slot: Slot,
    /// The tags that were asked for, where only the value tells all of them; by the names that servers
    /// know.
    tags: Option<Vec<Key>>,
    /// In the order of the tags.
    versions: Arc<[Version]>,
    witness: Witness,
}

/// What a caller saw with a lease.
#[derive(Debug)]
pub(crate) struct LeaseEvidence {
    seen: LeaseSeen,
    /// The lease itself, if it is this process's.
    pub(super) lease: Option<Lease>,
}

/// What an invalidation would have changed. No version is absent: invalidating a tag without a
/// version changes nothing.
#[derive(Debug, PartialEq)]
struct LeaseSeen {
    mark: Mark,
    epoch: u64,
    /// As those of a look.
    tags: Option<Vec<Key>>,
    versions: Vec<u64>,
}

impl PartialEq for LeaseEvidence {
    fn eq(&self, other: &Self) -> bool {
        self.seen == other.seen
    }
}

/// What a look means for a call that was not answered by it.
enum Decision {
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
enum Acquired {
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
    pub(crate) fn new(
        servers: Servers,
        namespace: &str,
        lease: Duration,
        limits: Limits,
        backlog_room: usize,
        observer: &Observer,
        told: Box<dyn Fn(Notice) + Send + Sync>,
    ) -> Self {
        let keyspace = Keyspace::new(namespace, servers.database());
        let connector = Connector::new(
            servers,
            limits,
            keyspace.clone(),
            backlog_room,
            observer.clone(),
            told,
        );
        Self {
            connector,
            keyspace,
            owner: Owner::new(),
            lease,
            lease_by_hand: lease.min(limits.operation.saturating_mul(2)),
            flights: Flights::default(),
            remembered: Remembered::default(),
            observer: observer.clone(),
        }
    }

    /// Tells, once, that no copies are kept because nothing is heard over this kind of connection.
    pub(super) fn tell_deafness(&self, deaf: &Connection) {
        self.connector.tell_deafness(deaf);
    }

    /// What an entry is tied to that never leaves the process. `None` if it cannot be kept: see
    /// [`Front`](crate::tier::Front).
    pub(super) async fn trusts(
        &self,
        query: &Query,
        without_hearing: bool,
        until: Instant,
    ) -> Option<Trusts> {
        let look = match self.look_to_refresh(query, until).await {
            Ok(look) => look,
            Err(error) => {
                self.unavailable(query, &error);
                return None;
            }
        };
        let Some(look) = look else {
            self.distrusted(query);
            return None;
        };
        if matches!(look.slot, Slot::Fence) || look.is_fenced() {
            query.missed.note(MissReason::Fenced);
            return None;
        }
        let trusts = self.connector.trusts_in_time(&look.witness, until).await;
        trusts.or_else(|| without_hearing.then(|| Trusts::unheard_for(query.local_ttl)))
    }

    /// When what begins now must have ended.
    pub(super) fn deadline(&self) -> Instant {
        self.connector.deadline_from(None)
    }

    /// Whether an invalidation of one of these names has failed, and was not repeated yet. Then
    /// what the server shows may be older than that invalidation.
    ///
    /// This is checked before a look, for what failed in this process. What other processes announce
    /// meanwhile is checked after it: see [`Heard`].
    fn distrusts(&self, key: &Key, tags: &[Key]) -> bool {
        let distrusts =
            sabotage::keeps(Rule::Distrust) && self.connector.journal.distrusts(key, tags);
        if distrusts {
            // The keeper may have died with its runtime; start another.
            self.connector.ensure_keeper();
        }
        distrusts
    }

    /// The same after a look, for what was announced since, too.
    fn distrusts_since(&self, heard: Heard, key: &Key, tags: &[Key]) -> bool {
        let journal = &self.connector.journal;
        sabotage::keeps(Rule::Distrust) && journal.distrusts_since(heard, key, tags)
    }

    /// Runs a look in its span, which has yet to be told what the look means for its call.
    async fn in_span_of_look<T>(&self, query: &Query, look: impl Future<Output = T>) -> (T, Span) {
        let span = self.span("look", "MGET", Some(query));
        (look.instrument(span.clone()).await, span)
    }

    /// Runs a request in its span.
    async fn in_span<T>(
        span: Span,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let answer = request.instrument(span.clone()).await;
        if let Err(error) = &answer {
            spans::failed(&span, error);
        }
        answer
    }

    /// The span of a request.
    fn span(&self, verb: &'static str, command: &'static str, query: Option<&Query>) -> Span {
        spans::request(&self.observer, verb, command, query)
    }

    /// What a call makes of the answer to its look.
    fn looked(
        &self,
        query: &Query,
        heard: Heard,
        looked: Result<ServerLook, Error>,
        undecodable: Option<Mark>,
    ) -> Look {
        let look = match looked {
            Ok(look) => look,
            Err(error) => return self.unavailable(query, &error),
        };
        if self.distrusts_since(heard, &query.key, &query.tags) {
            return self.distrusted(query);
        }
        self.show(query, look, undecodable)
    }

    /// Reads a slot and the versions of `tags`, in one round trip, which other callers may share.
    async fn look_at_server(
        &self,
        key: &Key,
        tags: &[Key],
        until: Option<Instant>,
    ) -> Result<ServerLook, Error> {
        let keys = self.keyspace.slot_and_versions(key, tags);
        let looked = self.connector.look(keys, until).await?;
        Ok(ServerLook::from(looked))
    }

    /// A look of a call whose function learns tags from its values: at the slot, and at the versions of the
    /// tags that are known or remembered. The entry names the tags that it carries. If those are others,
    /// their versions are read as well. `None` if one of the names is distrusted.
    async fn look_and_learn(
        &self,
        query: &Query,
        heard: Heard,
        until: Option<Instant>,
    ) -> Result<Option<ServerLook>, Error> {
        let key = &query.key;
        let began = Instant::now();
        let mut tags = on_server(&query.tags).into_owned();
        if let Some(remembered) = self.remembered.get(key) {
            tags.extend_from_slice(&remembered);
        }
        if self.distrusts(key, &tags) {
            return Ok(None);
        }
        let mut look = self.look_at_server(key, &tags, until).await?;
        if self.distrusts_since(heard, key, &tags) {
            return Ok(None);
        }
        if let Slot::Entry(entry) = &look.slot
            && entry.is_of(key)
            && entry.suits(&query.tags, true)
            && !entry.has_tags(&tags)
        {
            tags = entry.tags().map(|(tag, _)| Key::from(tag)).collect();
            self.remembered.set(key, &tags[query.tags.len()..]);
            // After the look, and before the versions are read: a replay may end between the two.
            if self.distrusts_since(heard, key, &tags) {
                return Ok(None);
            }
            look.witness = look.witness.of_slot();
            look.versions = [].into();
            if !tags.is_empty() {
                let versions = self.keyspace.versions(&tags);
                let slot = self.keyspace.slot(key);
                let until = until.unwrap_or_else(|| self.connector.deadline_from(Some(began)));
                let further = self
                    .connector
                    .look_further(&slot, look.witness, versions, until);
                let (witness, values) = further.await?;
                look.witness = witness;
                let versions = values.iter().map(|value| Version::read(value.as_deref()));
                look.versions = versions.collect();
            }
            if self.distrusts_since(heard, key, &tags) {
                return Ok(None);
            }
        }
        look.tags = Some(tags);
        Ok(Some(look))
    }

    /// The tags that a value told, by the names that servers know, but for those that were known before.
    fn further(query: &Query, told: &[Key]) -> Vec<Key> {
        let known = on_server(&query.tags);
        let told = on_server(told);
        let further = told.iter().filter(|tag| !known.contains(tag));
        further.cloned().collect()
    }

    /// The tags of a value that was loaded with this evidence. They are remembered.
    fn told(&self, query: &Query, told: &[Key], evidence: Option<&Evidence>) -> Told {
        let further = Self::further(query, told);
        self.remembered.set(&query.key, &further);
        let mut tags = on_server(&query.tags).into_owned();
        tags.extend(further);
        let mut told = Told {
            versions: vec![0; tags.len()],
            tags,
            epoch: 0,
            // Without evidence, no caller boards once the load has begun.
            is_covered: true,
        };
        let Some(Evidence::Shared(evidence)) = evidence else {
            return told;
        };
        let seen = &evidence.seen;
        let seen_tags = seen.tags.as_deref().unwrap_or_default();
        let places: HashMap<&Key, usize> = seen_tags.iter().zip(0..).collect();
        let places: Option<Vec<usize>> = told
            .tags
            .iter()
            .map(|tag| places.get(tag).copied())
            .collect();
        match places {
            Some(places) => {
                let version = |at: &usize| seen.versions.get(*at).copied().unwrap_or_default();
                told.versions = places.iter().map(version).collect();
                if let Some(lease) = &evidence.lease {
                    told.epoch = lease.witness.epoch_with(places.iter().copied());
                }
            }
            None => told.is_covered = !sabotage::keeps(Rule::TagsBeforeLoad),
        }
        told
    }

    /// Where the rule is taken away that the versions of a value's tags are read before its load: reads
    /// those that were not.
    async fn read_tags_after_load(
        &self,
        query: &Query,
        lease: &Lease,
        told: Option<Box<Told>>,
    ) -> Option<Box<Told>> {
        let mut told = told?;
        if !sabotage::keeps(Rule::TagsBeforeLoad) && told.versions.contains(&0) {
            let read = self.read_versions(&told.tags, query.longest_life());
            let replies = self.connector.run_over(&lease.witness, read.collect());
            let versions = replies
                .await
                .and_then(|replies| numbers(replies.into_iter().map(version), &query.key));
            if let Ok(Some(versions)) = versions {
                told.versions = versions;
                told.epoch = lease.witness.epoch();
            }
        }
        Some(told)
    }

    /// The tags for which a caller is to look again that sees the lease of a load in this process: those
    /// whose versions that load began with. If its value has other tags already, those.
    fn tags_of_flight(&self, query: &Query, seen: &LeaseSeen) -> Option<Vec<Key>> {
        let current = self.flights.lock(&query.key).current(&query.key);
        let (evidence, is_uncovered) = current?;
        let Evidence::Shared(evidence) = &*evidence else {
            return None;
        };
        if evidence.seen.mark != seen.mark {
            return None;
        }
        let known = query.tags.len();
        let tags = if is_uncovered {
            self.remembered.get(&query.key)?.to_vec()
        } else {
            evidence.seen.tags.as_ref()?.get(known..)?.to_vec()
        };
        let asked = seen.tags.as_ref()?.get(known..)?;
        (*tags != *asked).then_some(tags)
    }

    /// After a look: joins the load that is under way, or takes the lease.
    async fn board_at_server(
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
    fn decide(&self, query: &Query, look: &ServerLook) -> Decision {
        match look.slot {
            // A fence spans the commit, so of two callers that saw it, one may predate the commit.
            Slot::Fence => Decision::Unstored,
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
    fn lease_to_take(&self, query: &Query, look: &ServerLook) -> Lease {
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
    async fn board_refresh_at_server(&self, query: &Query, until: Instant) -> Boarded {
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
        if matches!(look.slot, Slot::Fence) || look.is_fenced() {
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

    /// What the server shows; `None` if one of the names is distrusted.
    async fn look_to_refresh(
        &self,
        query: &Query,
        until: Instant,
    ) -> Result<Option<ServerLook>, Error> {
        let heard = self.connector.journal.heard();
        if query.learns_tags {
            return self.look_and_learn(query, heard, Some(until)).await;
        }
        if self.distrusts(&query.key, &query.tags) {
            return Ok(None);
        }
        let looked = self.look_at_server(&query.key, &query.tags, Some(until));
        let look = looked.await?;
        let is_trusted = !self.distrusts_since(heard, &query.key, &query.tags);
        Ok(is_trusted.then_some(look))
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

    /// Reads the version of each tag, and draws one for each that has none.
    fn read_versions<'a>(
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
    fn extend_versions(&self, query: &Query, tags: &[Key], ttl: Duration) -> Vec<Operation> {
        let life = query.life(ttl);
        if life <= query.longest_life() || !sabotage::keeps(Rule::VersionsOutlive) {
            return Vec::new();
        }
        let lives = server_ttl(version_ttl(life));
        let extend =
            |tag| Operation::script(EXTEND, self.keyspace.version(tag)).with([lives.into()]);
        tags.iter().map(extend).collect()
    }

    /// The same, if its ttl has not ended.
    async fn look_up(&self, key: &Key) -> Result<Option<Entry>, Error> {
        let found = self.look_up_at_any_age(key).await?;
        Ok(found.filter(|entry| !entry.is_past(entry.seen_at)))
    }

    /// Reads an entry whose tags are known only from its header. If it has tags, their versions
    /// take another round trip. They are read after the slot, so they show each invalidation of a
    /// tag that returned before this call.
    async fn look_up_at_any_age(&self, key: &Key) -> Result<Option<Entry>, Error> {
        let heard = self.connector.journal.heard();
        if self.distrusts(key, &[]) {
            return Ok(None);
        }
        let mut look = self.look_at_server(key, &[], None).await?;
        let Slot::Entry(mut entry) = std::mem::replace(&mut look.slot, Slot::Absent) else {
            return Ok(None);
        };
        if !entry.is_of(key) || entry.only_remembers() {
            return Ok(None);
        }
        let tags: Vec<Key> = entry.tags().map(|(tag, _)| Key::from(tag)).collect();
        // Again after the look, and before the versions are read.
        if self.distrusts_since(heard, key, &tags) {
            return Ok(None);
        }
        if !tags.is_empty() {
            let versions = self.keyspace.versions(&tags);
            let slot = self.keyspace.slot(key);
            let until = self.connector.deadline_from(None);
            let further = self
                .connector
                .look_further(&slot, look.witness, versions, until);
            let (witness, values) = further.await?;
            look.witness = witness;
            let versions = values.iter().map(|value| Version::read(value.as_deref()));
            look.versions = versions.collect();
        }
        let serves = look.serves(&entry) && !self.distrusts_since(heard, key, &tags);
        entry.seen_at = look.witness.now();
        Ok(serves.then_some(entry))
    }

    /// Stores a value that no flight loaded, unless a fence stands.
    ///
    /// By two requests, the second of which replaces what the first one saw or left in the slot. So
    /// a request that arrives late, after an invalidation has returned, stores nothing: the
    /// invalidation has removed that, or has moved a version on.
    ///
    /// An entry is left in its slot, and served, until the value replaces it. In the place of
    /// anything else, the first request leaves a lease.
    async fn write(&self, query: &Query, value: &Encoded, ttl: Duration) -> Result<Filled, Error> {
        let Query { key, tags, .. } = query;
        let connector = &self.connector;
        let slot = self.keyspace.slot(key);
        let token = LeaseToken::by_hand();
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
        let fill = lease::fill(slot, &seen, entry, life);
        let notice = Notice::Entry(key.on_server().into_owned());
        let fill = self.keyspace.publishing(fill, &notice);
        let replies = connector.run_over(&witness, vec![fill]).await?;
        hold.settle();
        Ok(match replies.first() {
            Some(Reply::Number(1)) => Filled::Stored(ttl),
            _ => Filled::Overtaken,
        })
    }

    /// Invalidates names. What fails, or is dropped half-way, is kept in the journal.
    async fn invalidate_names(&self, names: &[Key]) -> Result<(), Error> {
        // Declared first, and so dropped last: the names are in the journal by then.
        let _kept = EnsureKeeper(&self.connector);
        let names = on_server(names);
        let mut under_way = self.connector.journal.begin(&names);
        let span = self.span("invalidate", "EVAL", None);
        let invalidated = self.connector.invalidate(&mut under_way);
        let invalidated = Self::in_span(span, invalidated).await;
        if !sabotage::keeps(Rule::Journal) {
            under_way.carried_out(names.len());
        }
        drop(under_way);
        if let Err(error) = &invalidated
            && error.is_refused()
            && sabotage::keeps(Rule::Publish)
        {
            self.connector.announce().await;
        }
        invalidated
    }

    /// Invalidates all names that match a pattern. If it fails, or is dropped half-way, the pattern is kept
    /// in the journal.
    async fn remove_matching(&self, pattern: &Pattern, removal: &Removal<'_>) -> Result<(), Error> {
        // Declared first, and so dropped last: the pattern is in the journal by then.
        let _kept = EnsureKeeper(&self.connector);
        let under_way = self.connector.journal.begin_pattern(pattern);
        let selection = Selection::of(pattern.clone());
        let span = self.span("invalidate", "SCAN", None);
        let removed = self.connector.remove(&selection, removal);
        let removed = Self::in_span(span, removed).await;
        if removed.is_ok() || !sabotage::keeps(Rule::Journal) {
            under_way.carried_out();
        } else {
            drop(under_way);
        }
        if let Err(error) = &removed
            && error.is_refused()
            && sabotage::keeps(Rule::Publish)
        {
            self.connector.announce().await;
        }
        removed
    }

    /// Waits until the journal is empty, at most for `limit`.
    async fn flush_journal(&self, limit: Duration) -> Result<(), Error> {
        let emptied = async {
            self.connector.ensure_keeper();
            // The keeper may die with the runtime that it was spawned on.
            while clock::within(FLUSH_PAUSE, self.connector.journal.emptied())
                .await
                .is_none()
            {
                self.connector.ensure_keeper();
            }
        };
        if clock::within(limit, emptied).await.is_some() {
            return Ok(());
        }
        let reason = match self.status().error() {
            Some(error) => error.to_string(),
            None => format!("not all were carried out within {limit:?}"),
        };
        Err(self.still_kept(&reason))
    }

    /// What a look shows a call.
    fn show(&self, query: &Query, mut look: ServerLook, undecodable: Option<Mark>) -> Look {
        match look.slot {
            Slot::Entry(mut entry)
                if undecodable != Some(entry.mark)
                    && look.serves_to(query, &entry)
                    && (!entry.header.outlives || is_served(&look.witness, query, &entry)) =>
            {
                let now = look.witness.now();
                if query.fresh.is_some() {
                    entry.seen_at = now;
                }
                if !query.local_ttl.is_zero() {
                    entry.source = Some(Box::new(Source {
                        left: query.fresh.map_or_else(
                            || entry.left(now),
                            |it| it.undisturbed(entry.age_at(now)),
                        ),
                        trusts: self
                            .connector
                            .trusts(&look.witness)
                            .ok_or_else(|| look.witness.deaf().cloned()),
                    }));
                }
                Look::Hit(Found::Encoded(entry))
            }
            slot => {
                look.slot = slot;
                query.missed.note(look.reason_to_miss(query, undecodable));
                if let Some(value_type) = query.value_type
                    && look.shows_other_type(query)
                {
                    let name = value_type.name;
                    self.observer.other_type(query.site, &query.key, name, None);
                }
                Look::Miss(Miss::AtServer(Box::new(look)))
            }
        }
    }

    fn still_kept(&self, reason: &dyn std::fmt::Display) -> Error {
        let waiting = self.waiting();
        let names = match waiting {
            Waiting {
                names,
                has_overflowed: true,
                ..
            } => format!("more than {names}"),
            Waiting { names, .. } => names.to_string(),
        };
        Error::kept(self.connector.address(), &names, reason)
    }

    /// A look has failed.
    fn unavailable(&self, query: &Query, error: &Error) -> Look {
        query.missed.note(MissReason::Unavailable);
        self.degrade(query, error);
        Look::Miss(Miss::Unknown)
    }

    fn distrusted(&self, query: &Query) -> Look {
        query.missed.note(MissReason::Distrusted);
        let event = Event::Distrust { key: &query.key };
        self.observer.observe(query.site, event);
        Look::Miss(Miss::Unknown)
    }

    /// A call goes on without the server, or without a part of what it asked for.
    fn degrade(&self, query: &Query, error: &Error) {
        let key = &query.key;
        self.observer
            .observe(query.site, Event::Degrade { key, error });
    }

    fn note_unreadable(&self, query: &Query, look: &ServerLook) {
        if let Slot::Unreadable(_) = look.slot {
            let reason = "it is in no form that this version of the cache knows";
            self.degrade(query, &Error::codec(query.key.as_str(), "read", &reason));
        }
    }
}

/// Whether a valid entry that its slot keeps for longer than its ttl is served to a call.
#[cold]
fn is_served(witness: &Witness, query: &Query, entry: &Entry) -> bool {
    let freshness = query.fresh.as_ref().unwrap_or(&Freshness::NONE);
    freshness.of(entry.age_at(witness.now())).is_served()
}

/// What a call does that has boarded a flight, and need not ask for a lease.
fn seated(seat: Seat<Evidence>) -> Boarded {
    match seat {
        Seat::Wait(waiter) => Boarded::Wait(waiter),
        Seat::Lead(leader) if leader.is_watch() => Boarded::Watch(leader),
        Seat::Lead(leader) => Boarded::Lead(leader),
    }
}

impl Store for Shared {
    fn name(&self) -> &'static str {
        "shared"
    }

    async fn look(
        &self,
        query: &Query,
        undecodable: Option<Mark>,
        asking_since: Option<Instant>,
    ) -> Look {
        let heard = self.connector.journal.heard();
        if query.learns_tags {
            let until = asking_since.map(|since| self.connector.look_deadline(since));
            let looked = self.look_and_learn(query, heard, until);
            let (looked, span) = Box::pin(self.in_span_of_look(query, looked)).await;
            let look = match looked {
                Ok(Some(look)) => self.show(query, look, undecodable),
                Ok(None) => self.distrusted(query),
                Err(error) => self.unavailable(query, &error),
            };
            spans::looked(&span, query, &look);
            return look;
        }
        if self.distrusts(&query.key, &query.tags) {
            return self.distrusted(query);
        }
        let until = asking_since.map(|since| self.connector.look_deadline(since));
        // Boxed: a call without a span has no room for one.
        if spans::are_asked() {
            let looked = self.look_at_server(&query.key, &query.tags, until);
            let (looked, span) = Box::pin(self.in_span_of_look(query, looked)).await;
            let look = self.looked(query, heard, looked, undecodable);
            spans::looked(&span, query, &look);
            return look;
        }
        let looked = self.look_at_server(&query.key, &query.tags, until).await;
        self.looked(query, heard, looked, undecodable)
    }

    fn board<'a>(
        &'a self,
        query: &'a Query,
        miss: Miss,
        asking_since: Option<Instant>,
    ) -> MaybeReady<'a, Boarded> {
        let until = self.connector.deadline_from(asking_since);
        let look = match miss {
            Miss::AtServer(look) if Instant::now() < until => look,
            Miss::Boarded(waiter) => return MaybeReady::Ready(Some(Boarded::Wait(waiter))),
            _ => return MaybeReady::Ready(Some(Boarded::Unstored)),
        };
        self.note_unreadable(query, &look);
        MaybeReady::Later(Box::pin(self.board_at_server(query, look, until)))
    }

    fn board_refresh<'a>(&'a self, query: &'a Query) -> MaybeReady<'a, Boarded> {
        let until = self.connector.deadline_from(None);
        MaybeReady::Later(Box::pin(self.board_refresh_at_server(query, until)))
    }

    fn age(&self, _query: &Query, found: &Found) -> Option<Age> {
        match found {
            Found::Encoded(entry) => Some(entry.age_when_seen()),
            Found::ToCopy(it) => Some(it.entry.age_when_seen()),
            Found::Value(_) => None,
        }
    }

    fn board_beside<'a>(&'a self, query: &'a Query, found: &'a Found) -> MaybeReady<'a, Beside> {
        match found {
            Found::Encoded(entry) => MaybeReady::Later(Box::pin(self.refresh_beside(query, entry))),
            Found::ToCopy(it) => MaybeReady::Later(Box::pin(self.refresh_beside(query, &it.entry))),
            Found::Value(_) => MaybeReady::Ready(Some(Beside::Skip)),
        }
    }

    fn find_old<'a>(&'a self, query: &'a Query) -> MaybeReady<'a, Option<Found>> {
        MaybeReady::Later(Box::pin(self.find_old_entry(query)))
    }

    fn note_failure(&self, evidence: &Evidence, pause: Duration, excused: bool) -> bool {
        let lock = evidence.lease().and_then(|lease| lease.lock.as_ref());
        if let Some(lock) = lock {
            lock.fail(beside::failure(pause, excused));
        }
        lock.is_some()
    }

    fn is_under_way<'a>(&'a self, query: &'a Query, miss: &'a Miss) -> MaybeReady<'a, bool> {
        MaybeReady::Later(Box::pin(self.is_locked(query, miss)))
    }

    async fn find_at_any_age(&self, key: &Key) -> Result<Option<(Found, About)>, Error> {
        let entry = Box::pin(self.look_up_at_any_age(key)).await?;
        Ok(entry.map(|entry| {
            let age = entry.age_when_seen();
            let about = About {
                age: Some(age.since_created),
                remaining: age.ttl.saturating_sub(age.since_created),
                stamp: entry.stamp(),
            };
            (Found::Encoded(entry), about)
        }))
    }

    async fn inspect(&self, key: &Key) -> Result<Inspection, Error> {
        Box::pin(self.inspect_name(key)).await
    }

    async fn set_encoded(
        &self,
        key: &Key,
        payload: Payload,
        tags: &[Key],
        ttl: Duration,
    ) -> Result<Filled, Error> {
        Box::pin(self.replace_value(key, payload, tags, ttl)).await
    }

    fn servers(&self) -> StoreState {
        self.connector.servers()
    }

    async fn expire(&self, keys: &[Key]) -> Result<(), Error> {
        for key in keys {
            Box::pin(self.expire_entry(key)).await?;
        }
        Ok(())
    }

    fn board_unstored(&self, key: &Key) -> Option<Seat<Evidence>> {
        Some(self.flights.board(key, None))
    }

    fn renew(&self, leader: &Leader<Evidence>, limit: Duration) -> Option<Renewal> {
        let evidence = leader.evidence()?;
        evidence.lease()?;
        Some(Box::pin(async move {
            match evidence.lease() {
                Some(lease) => lease::renew(&[lease], limit).await,
                None => std::future::pending().await,
            }
        }))
    }

    fn fill<'a>(
        &'a self,
        query: &'a Query,
        mut leader: Leader<Evidence>,
        filling: &Filling<'_>,
        ttl: &dyn Fn() -> Option<Duration>,
    ) -> MaybeReady<'a, Filled> {
        let evidence = leader.evidence();
        // Before others wake and look again: it remembers the tags.
        let told = query
            .learns_tags
            .then(|| Box::new(self.told(query, filling.tags, evidence.as_deref())));
        let is_covered = told.as_ref().is_none_or(|told| told.is_covered);
        match leader.claim() {
            Claim::Superseded => return MaybeReady::Ready(Some(Filled::Superseded)),
            Claim::Shared => leader.land(filling.value.share(), is_covered),
            Claim::Unshared => {}
        }
        if evidence.as_deref().and_then(Evidence::lease).is_none() {
            leader.finish();
            return MaybeReady::Ready(Some(Filled::Unstorable));
        }
        let (ttl, cost) = (ttl(), filling.cost);
        let tags = told.as_ref().map_or(&query.tags, |told| &told.tags);
        let extend = ttl.map(|ttl| self.extend_versions(query, tags, ttl));
        let encoded = if is_covered {
            encode(query, filling)
        } else {
            Ok(Encoded::None)
        };
        MaybeReady::Later(Box::pin(async move {
            let filled = match evidence.as_deref().and_then(Evidence::lease) {
                Some(lease) => {
                    if let Ok(encoded) = &encoded {
                        self.connector.expect(lease.slot(), encoded.size());
                    }
                    let told = self.read_tags_after_load(query, lease, told).await;
                    let told = told.as_deref();
                    let filled = fill(lease, query, encoded, told, ttl.zip(extend), cost);
                    let span = self.span("fill", "EVAL", Some(query));
                    leader.follow(pin!(filled.instrument(span))).await
                }
                None => Filled::Unstorable,
            };
            leader.finish();
            filled
        }))
    }

    async fn look_many(&self, queries: &[&Query]) -> Vec<Look> {
        let span = self.span("look", "MGET", None);
        Box::pin(self.look_each(queries).instrument(span)).await
    }

    async fn board_many(&self, misses: Vec<(&Query, Miss)>) -> Vec<Boarded> {
        let span = self.span("lease", "EVAL", None);
        Box::pin(self.board_each(misses).instrument(span)).await
    }

    fn renew_many(&self, leaders: &[Leader<Evidence>], limit: Duration) -> Option<Renewal> {
        let evidence: Vec<_> = leaders.iter().filter_map(Leader::evidence).collect();
        let has_lease = |evidence: &Arc<Evidence>| evidence.lease().is_some();
        if !evidence.iter().any(has_lease) {
            return None;
        }
        Some(Box::pin(async move {
            let leases = evidence.iter().filter_map(|evidence| evidence.lease());
            lease::renew(&leases.collect::<Vec<_>>(), limit).await
        }))
    }

    fn fill_many<'a>(&'a self, fills: Vec<Fill<'a>>) -> MaybeReady<'a, Vec<Filled>> {
        self.fill_each(fills)
    }

    async fn get(&self, key: &Key) -> Result<Option<Found>, Error> {
        let span = self.span("get", "MGET", None);
        let entry = Box::pin(Self::in_span(span, self.look_up(key))).await?;
        Ok(entry.map(Found::Encoded))
    }

    async fn remaining(&self, key: &Key, found: &Found) -> Result<Option<Duration>, Error> {
        if let Found::Encoded(entry) = found
            && entry.header.outlives
        {
            return Ok(Some(entry.left(entry.seen_at)));
        }
        let key = self.keyspace.slot(key);
        let (_, replies) = self
            .connector
            .run(vec![Operation::Remaining { key }])
            .await?;
        match replies.first() {
            Some(&Reply::Number(left)) => Ok(u64::try_from(left).ok().map(Duration::from_millis)),
            _ => Ok(None),
        }
    }

    async fn set(
        &self,
        query: &Query,
        filling: &Filling<'_>,
        ttl: Duration,
    ) -> Result<Filled, Error> {
        let encoded = encode(query, filling);
        let failed = |reason| Error::unstorable(query.key.as_str(), &reason);
        let encoded = encoded.map_err(failed)?;
        if query.learns_tags {
            let further = on_server(filling.tags);
            self.remembered.set(&query.key, &further);
        }
        let span = self.span("set", "EVAL", Some(query));
        Box::pin(Self::in_span(span, self.write(query, &encoded, ttl))).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Found>>, Error> {
        let span = self.span("get", "MGET", None);
        let entries = Box::pin(Self::in_span(span, self.look_up_many(keys))).await?;
        let entries = entries.into_iter();
        Ok(entries.map(|entry| entry.map(Found::Encoded)).collect())
    }

    async fn set_many(
        &self,
        settings: &[(Query, Filling<'_>, Duration)],
    ) -> Result<Vec<Filled>, Error> {
        let encode = |(query, filling, ttl): &'_ (Query, Filling<'_>, Duration)| {
            let failed = |reason| Error::unstorable(query.key.as_str(), &reason);
            let encoded = encode(query, filling).map_err(failed)?;
            Ok::<_, Error>((encoded, *ttl))
        };
        let encoded: Vec<_> = settings.iter().map(encode).collect::<Result<_, _>>()?;
        let encoded = settings.iter().zip(encoded);
        let settings: Vec<Setting<'_>> = encoded
            .map(|((query, ..), (value, ttl))| Setting { query, value, ttl })
            .collect();
        let span = self.span("set", "EVAL", None);
        Box::pin(Self::in_span(span, self.write_many(&settings))).await
    }

    async fn delete_many(&self, keys: &[Key]) -> Result<Vec<bool>, Error> {
        Box::pin(self.remove_many(keys)).await
    }

    async fn delete(&self, key: &Key) -> Result<bool, Error> {
        let (_, replies) = self.connector.run(vec![self.keyspace.unlink(key)]).await?;
        Ok(replies.first() == Some(&Reply::Number(1)))
    }

    async fn invalidate(&self, names: &[Key]) -> Result<(), Error> {
        Box::pin(self.invalidate_names(names)).await
    }

    fn invalidate_now(&self, _names: &[Key]) -> bool {
        false
    }

    fn invalidate_later(&self, names: &[Key]) {
        self.connector.journal.keep(&on_server(names));
        self.connector.ensure_keeper();
    }

    fn invalidate_buckets_later(&self, buckets: Buckets) {
        self.connector.journal.keep_buckets(buckets);
        self.connector.ensure_keeper();
    }

    async fn invalidate_matching(
        &self,
        pattern: &Pattern,
        removal: &Removal<'_>,
    ) -> Result<(), Error> {
        Box::pin(self.remove_matching(pattern, removal)).await
    }

    fn invalidate_matching_later(&self, pattern: &Pattern) {
        self.connector.journal.keep_pattern(pattern);
        self.connector.ensure_keeper();
    }

    async fn clear(&self) -> Result<(), Error> {
        self.connector.clear().await
    }

    async fn fence(&self, names: &[Key], writer: u64, length: Duration) -> Result<(), Error> {
        let join = fence::join(&self.keyspace, names, writer, length);
        Box::pin(self.connector.run(join)).await.map(drop)
    }

    async fn unfence(&self, names: &[Key], writer: u64) -> Result<(), Error> {
        let leave = fence::leave(&self.keyspace, names, writer);
        Box::pin(self.connector.run(leave)).await.map(drop)
    }

    fn unfence_now(&self, _names: &[Key], _writer: u64) -> bool {
        false
    }

    async fn ping(&self) -> Result<(), Error> {
        self.connector.ping().await
    }

    async fn flush(&self, limit: Duration) -> Result<(), Error> {
        self.flush_journal(limit).await
    }

    fn status(&self) -> Status {
        self.connector.status()
    }

    fn waiting(&self) -> Waiting {
        self.connector.journal.waiting()
    }
}

/// A value as it is to be stored. With a key that the header has to name, it may be too large.
fn encode(query: &Query, filling: &Filling<'_>) -> Result<Encoded, Reason> {
    let encoded = filling.value.encode(filling.codec, filling.is_checked)?;
    if query.key.is_long() {
        codec::check_size(encoded.size() + query.key.bytes().len())?;
    }
    Ok(encoded)
}

/// Stores an outcome in the place of the lease, or gives the lease back. With the ttl come the
/// operations that make the versions outlive it.
async fn fill(
    lease: &Lease,
    query: &Query,
    encoded: Result<Encoded, Reason>,
    told: Option<&Told>,
    ttl: Option<(Duration, Vec<Operation>)>,
    cost: Duration,
) -> Filled {
    let (Some((ttl, extend)), Ok(value)) = (ttl, &encoded) else {
        lease.hold.release().await;
        return match encoded {
            Ok(_) => Filled::Unwanted,
            Err(reason) => Filled::Failed(Error::unstorable(query.key.as_str(), &reason)),
        };
    };
    match lease.fill(extend, query, value, told, ttl, cost).await {
        Ok(true) if told.is_some_and(|told| !told.is_covered) => Filled::NewTags,
        Ok(true) => Filled::Stored(ttl),
        Ok(false) => Filled::Overtaken,
        Err(error) => Filled::Failed(error),
    }
}

impl Evidence {
    /// Whether each tag of an entry is among those that this evidence has the versions of.
    pub(super) fn covers(&self, entry: &Entry) -> bool {
        let tags = match self {
            Self::Shared(evidence) => evidence.seen.tags.as_deref(),
            Self::Local(_) => None,
        };
        let has = |tags: &[Key], tag| tags.iter().any(|it| it.as_str() == tag);
        tags.is_none_or(|tags| entry.has_tags(tags) || entry.tags().all(|(tag, _)| has(tags, tag)))
    }

    fn lease(&self) -> Option<&Lease> {
        match self {
            Self::Shared(evidence) => evidence.lease.as_ref(),
            Self::Local(_) => None,
        }
    }
}

impl From<Looked> for ServerLook {
    fn from(looked: Looked) -> Self {
        let mut slot = entry::decode(looked.slot);
        if let Slot::Entry(entry) = &mut slot {
            entry.shared_decode = looked.shared_decode;
        }
        Self {
            slot,
            tags: None,
            versions: looked.versions,
            witness: looked.witness,
        }
    }
}

impl ServerLook {
    /// The tags whose versions it shows.
    fn tags<'a>(&'a self, query: &'a Query) -> &'a [Key] {
        self.tags.as_deref().unwrap_or(&query.tags)
    }

    /// Whether an entry may be served to this call.
    fn serves_to(&self, query: &Query, entry: &Entry) -> bool {
        entry.header.schema == query.schema
            && entry.is_of(&query.key)
            && (!query.learns_tags || entry.suits(&query.tags, true))
            && self.serves(entry)
            && is_of_type(query, entry)
    }

    /// Why what it shows is not served to this call.
    fn reason_to_miss(&self, query: &Query, undecodable: Option<Mark>) -> MissReason {
        let entry = match &self.slot {
            Slot::Absent => return MissReason::Absent,
            Slot::Lease(_) => return MissReason::Loading,
            Slot::Fence => return MissReason::Fenced,
            Slot::Unreadable(_) => return MissReason::Unreadable,
            Slot::Entry(entry) => entry,
        };
        if undecodable == Some(entry.mark) {
            MissReason::Unreadable
        } else if self.is_fenced() {
            MissReason::Fenced
        } else if entry.header.schema != query.schema
            || !entry.is_of(&query.key)
            || !entry.suits(&query.tags, query.learns_tags)
            || !is_of_type(query, entry)
        {
            MissReason::Mismatched
        } else if entry.only_remembers() {
            // It has no value.
            MissReason::Absent
        } else if entry.header.epoch != self.witness.epoch() {
            MissReason::OtherServer
        } else if !self.serves(entry) {
            MissReason::Invalidated
        } else {
            MissReason::Expired
        }
    }

    /// Whether an entry is of a newer schema version, and may be valid: then this call neither is
    /// served it nor replaces it. Only an entry with this call's tags is known to be invalid.
    fn belongs_to_newer(&self, query: &Query, entry: &Entry) -> bool {
        entry.header.schema > query.schema
            && entry.is_of(&query.key)
            && (self.serves(entry) || !entry.has_tags(self.tags(query)))
    }

    /// Whether only its type keeps the entry from being served to this call.
    fn shows_other_type(&self, query: &Query) -> bool {
        match &self.slot {
            Slot::Entry(entry) => {
                !is_of_type(query, entry)
                    && entry.header.schema == query.schema
                    && entry.is_of(&query.key)
                    && self.serves(entry)
            }
            _ => false,
        }
    }

    /// Whether an entry may be served. The version of every tag must be there, and be the one from
    /// before the load. First versions are drawn at random. So a version that was lost and drawn
    /// again is another one, and so is the version of another tag.
    fn serves(&self, entry: &Entry) -> bool {
        let is_same = |((_, before), now): ((&str, u64), &Version)| {
            Version::Number(before) == *now
                || *now == Version::Absent && !sabotage::keeps(Rule::AbsentVersion)
        };
        entry.header.epoch == self.witness.epoch()
            && !entry.only_remembers()
            && entry.tags().len() == self.versions.len()
            && entry.tags().zip(&*self.versions).all(is_same)
    }

    /// Whether this lease was given by another server, such as one that has failed over to this one.
    /// No load fills it any more. An epoch of zero says nothing: `INFO` was not permitted.
    fn is_of_another_server(&self, token: LeaseToken) -> bool {
        let (then, now) = (token.epoch, self.witness.slot_epoch());
        then != now && then != 0 && now != 0 && sabotage::keeps(Rule::DeadLease)
    }

    /// Whether writers are at work on one of the tags.
    fn is_fenced(&self) -> bool {
        self.versions.contains(&Version::Fence)
    }

    /// The evidence of a caller that saw this lease; `None` if a version is absent.
    fn lease_seen(&self, mark: Mark) -> Option<LeaseSeen> {
        let versions = self.versions.iter().map(|version| version.number());
        Some(LeaseSeen {
            mark,
            epoch: self.witness.epoch(),
            tags: self.tags.clone(),
            versions: versions.collect::<Option<_>>()?,
        })
    }

    /// Whether it shows the same lease as before, with the same versions.
    pub(super) fn shows(&self, evidence: &Evidence) -> bool {
        match (&self.slot, evidence) {
            (&Slot::Lease(token), Evidence::Shared(evidence)) => {
                self.lease_seen(token.mark).as_ref() == Some(&evidence.seen)
            }
            (Slot::Entry(entry), Evidence::Shared(evidence)) => {
                self.lease_seen(entry.mark).as_ref() == Some(&evidence.seen)
            }
            _ => false,
        }
    }
}

/// Whether an entry holds a value of the type that this call asks for, as far as both say.
pub(super) fn is_of_type(query: &Query, entry: &Entry) -> bool {
    let (one, other) = (value_type(query), entry.header.value_type);
    one == other || one == ANY_TYPE || other == ANY_TYPE || !sabotage::keeps(Rule::TypeInEntry)
}

/// The type that a call says in its entry.
pub(super) fn value_type(query: &Query) -> u32 {
    query
        .value_type
        .map_or(ANY_TYPE, |value_type| value_type.hash)
}

/// When dropped, starts a keeper for what an invalidation left in the journal.
struct EnsureKeeper<'a>(&'a Arc<Connector>);

impl Drop for EnsureKeeper<'_> {
    fn drop(&mut self) {
        if !self.0.journal.is_empty() {
            self.0.ensure_keeper();
        }
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
fn version(reply: Reply) -> Version {
    Version::read(reply.bytes().as_deref())
}

/// The numbers that versions are; `None` if one of them is a fence.
fn numbers(versions: impl Iterator<Item = Version>, key: &Key) -> Result<Option<Vec<u64>>, Error> {
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
