//! The local tier: values are kept in this process as they are, without serialization. The protocol
//! is that of the shared tier, with a lock in the place of the server.
//!
//! A flight that is current in [`Flights`] stands for a lease. An invalidation removes the flight
//! and the entry under the flight's lock. So a load that was under way cannot be boarded any more,
//! and does not store what it read. A tag's version is a counter, to which the tag's entries point.
//! So invalidating a tag takes the same time however many entries carry it.

mod basis;
mod budget;
mod fence;
mod inspect;
mod sweeper;
mod table;
mod tie;
mod walk;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub(crate) use self::basis::Basis;
use self::basis::{Life, Tags};
use self::fence::Fences;
use self::table::{Hashed, Table};
pub(crate) use self::tie::Tie;
use self::walk::Walk;
use super::remembered::Remembered;
use super::{
    About, Beside, Boarded, Evidence, Fill, Filled, Filling, Found, Held, Look, Mark, MaybeReady,
    Miss, Query, Storable, Store,
};
use crate::backlog::Buckets;
use crate::clock::Clock;
use crate::error::Error;
use crate::flight::{Flights, Leader, Seat, Shard};
use crate::freshness::{Age, Freshness, State};
use crate::inspection::{Inspection, StoreKind, StoreState};
use crate::key::{Key, Name, Parts, Pattern};
use crate::missed::MissReason;
use crate::removal::Removal;
use crate::sabotage::{self, Rule};
use crate::value::SharedValue;
use crate::weigher::Weigher;

/// What an entry takes besides its key and its value: its place in the table, and the counters of an `Arc`.
const PLACE: usize = 96;

#[derive(Debug)]
pub(crate) struct Local {
    /// By which entries expire, and fences whose writers have left them.
    clock: Clock,
    entries: Table,
    weigher: Weigher,
    /// Whether entries are weighed: where they are bounded by what they weigh, or have a budget.
    weighs: AtomicBool,
    tags: Tags,
    fences: Fences,
    flights: Flights<Evidence>,
    remembered: Remembered,
}

/// An entry: an outcome whose type only its reader knows, and the tags and the schema version with
/// which it was loaded.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) value: SharedValue,
    pub(crate) basis: Basis,
}

/// What a caller saw before its load.
#[derive(Debug)]
pub(crate) struct LocalEvidence {
    basis: Basis,
    /// The key's hash, which is the same for all callers.
    hash: u64,
    /// Whether the load began beside an entry that may be served.
    is_refresh: bool,
}

impl Evidence {
    fn local(&self) -> Option<&LocalEvidence> {
        match self {
            Self::Local(evidence) => Some(evidence),
            Self::Shared(_) => None,
        }
    }
}

impl PartialEq for LocalEvidence {
    fn eq(&self, other: &Self) -> bool {
        self.basis == other.basis
    }
}

/// How much a local tier holds.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    pub(crate) max_entries: usize,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) weigher: Weigher,
}

impl Local {
    pub(crate) fn new(bound: Bound, clock: Clock) -> Self {
        Self {
            entries: Table::new(bound.max_entries, bound.max_bytes),
            weigher: bound.weigher,
            weighs: AtomicBool::new(bound.max_bytes.is_some()),
            tags: Tags::default(),
            fences: Fences::new(clock.clone()),
            clock,
            flights: Flights::default(),
            remembered: Remembered::default(),
        }
    }

    /// The entry of a name that is not rendered, if it is alive. The caller checks its basis. If
    /// two keys have one hash, this may miss an entry, which [`look`](Store::look) then finds.
    #[expect(
        clippy::inline_always,
        reason = "where it is called, the name is known"
    )]
    #[inline(always)]
    pub(crate) fn find(&self, name: &Name<impl Parts>) -> Option<Entry> {
        self.entries.find(name, self.clock.now())
    }

    /// The entry of `key`, if it is alive, and its ttl has not ended: its tags are not invalidated.
    fn peek(&self, key: &Key) -> Option<Entry> {
        let entry = self
            .entries
            .get(self.entries.hashed(key), self.clock.now())?;
        (self.state(None, &entry) < State::Revalidate).then_some(entry)
    }

    /// Whether an entry is served to a call with these options, without asking for anything first; and
    /// whether it is long before the end of its ttl.
    #[inline]
    pub(crate) fn is_fresh(&self, freshness: &Freshness, entry: &Entry) -> bool {
        self.state(Some(freshness), entry) == State::Fresh
    }

    /// What a call with these options may do with an entry that has not expired.
    fn state(&self, freshness: Option<&Freshness>, entry: &Entry) -> State {
        let Some(life) = entry.basis.life() else {
            return State::Fresh;
        };
        let age = life.age(self.clock.moment());
        freshness.unwrap_or(&Freshness::NONE).of(age)
    }

    /// The life of an entry that is stored now; `None` if its age does not matter until it expires.
    fn life(&self, query: &Query, ttl: Duration, cost: Duration) -> Option<Life> {
        query.fresh.as_ref()?;
        let created = self.clock.moment();
        let fresh_until = self.clock.expiry(ttl);
        Some(Life::new(created, fresh_until, cost, query.life(ttl) > ttl))
    }

    /// Looks for an entry. Without one, boards the flight of the key or starts one. Both happen
    /// under the lock under which flights store, so no flight stores between the look and the
    /// boarding.
    ///
    /// `None` if it is tied to what was heard when a server was asked, and that has changed since.
    pub(super) fn look_and_board(&self, query: &Query, tie: Option<&Tie<'_>>) -> Option<Look> {
        let Query { key, schema, .. } = query;
        let schema = *schema;
        let tags = &*self.tags_of(query);
        let basis = self.basis(query, tags, tie);
        let hashed = self.entries.hashed(key);
        // Declared before the lock, and so dropped after it: the value's `Drop` is the user's code.
        let found;
        let mut shard = self.flights.lock(key);
        found = self.entries.get(hashed, self.clock.now());
        let mut is_beside = false;
        if let Some(entry) = &found
            && entry.basis.suits_query(query)
        {
            match self.state(query.fresh.as_ref(), entry) {
                state if state.is_served() => return Some(Look::Hit(Found::Value(entry.clone()))),
                // It stays while it is loaded, and if that fails.
                State::OnError => is_beside = true,
                _ => {}
            }
            query.missed.note(MissReason::Expired);
        }
        if found
            .as_ref()
            .is_some_and(|entry| entry.basis.schema() > schema)
        {
            query.missed.note(MissReason::Mismatched);
            return Some(Look::Miss(Miss::Newer));
        }
        // Checked under the lock, and after the versions were read. So a fence that comes after
        // this check forgets the flight that begins here, and counts up the versions that the
        // flight was started with.
        if self.fences.stand(tags.iter().chain([key])) {
            query.missed.note(MissReason::Fenced);
            return Some(Look::Miss(Miss::Fenced));
        }
        if tie.is_some_and(Tie::is_outdated) {
            return None;
        }
        let evidence = Evidence::Local(LocalEvidence {
            basis,
            hash: hashed.hash,
            is_refresh: is_beside,
        });
        let mut seat = shard.join(key, Some(&evidence));
        if query.learns_tags && seat.is_none() {
            seat = self.join_with_its_tags(query, &mut shard);
        }
        query.missed.note(match (&found, &seat) {
            (Some(_), _) => MissReason::Mismatched,
            (None, Some(_)) => MissReason::Loading,
            (None, None) => MissReason::Absent,
        });
        let seat = seat.unwrap_or_else(|| Seat::Lead(shard.start(key, Some(evidence))));
        Some(match seat {
            Seat::Lead(leader) => Look::Lead(leader),
            Seat::Wait(waiter) => Look::Miss(Miss::Boarded(waiter)),
        })
    }

    /// Boards the current flight with the versions of its tags, which may be others than those that this
    /// caller has remembered.
    fn join_with_its_tags(
        &self,
        query: &Query,
        shard: &mut Shard<'_, Evidence>,
    ) -> Option<Seat<Evidence>> {
        let (current, _) = shard.current(&query.key)?;
        let Evidence::Local(current) = &*current else {
            return None;
        };
        let tags: Vec<Key> = current.basis.tags().cloned().collect();
        if self.fences.stand(tags.iter()) {
            return None;
        }
        let basis = self.tags.read(&tags, query.schema, true);
        let evidence = Evidence::Local(LocalEvidence {
            basis,
            hash: current.hash,
            is_refresh: false,
        });
        shard.join(&query.key, Some(&evidence))
    }

    /// The tags under whose versions a load begins: those that are known, and those that the value told
    /// last, as far as that is remembered.
    fn tags_of<'q>(&self, query: &'q Query) -> Cow<'q, [Key]> {
        let Query { key, tags, .. } = query;
        if !query.learns_tags {
            return Cow::Borrowed(tags);
        }
        let mut all = tags.clone();
        if let Some(remembered) = self.remembered.get(key) {
            all.extend(remembered.iter().filter(|tag| !tags.contains(tag)).cloned());
        }
        Cow::Owned(all)
    }

    /// Whether the entry of a call's key is of a newer schema version, which the call does not replace.
    fn holds_newer(&self, query: &Query) -> bool {
        let schema = self
            .entries
            .schema(self.entries.hashed(&query.key), self.clock.now());
        schema.is_some_and(|schema| schema > query.schema)
    }

    /// Starts a flight beside an entry, unless one is under way or the entry has been replaced.
    fn board_beside_value(&self, query: &Query, seen: &Entry) -> Beside {
        let key = &query.key;
        let tags = &*self.tags_of(query);
        let basis = self.basis_of(query, tags).tied_to(seen.basis.trusts());
        let hashed = self.entries.hashed(key);
        let found;
        let mut shard = self.flights.lock(key);
        found = self.entries.get(hashed, self.clock.now());
        let is_seen = |entry: &Entry| Arc::ptr_eq(&entry.value, &seen.value);
        if !found.as_ref().is_some_and(is_seen) || self.fences.stand(tags.iter().chain([key])) {
            return Beside::Skip;
        }
        if shard.is_under_way(key) {
            return Beside::Held;
        }
        let evidence = Evidence::Local(LocalEvidence {
            basis,
            hash: hashed.hash,
            is_refresh: true,
        });
        Beside::Lead(shard.start(key, Some(evidence)))
    }

    /// The entry of a call, however old it is, as long as it may be served in the place of an error.
    fn find_old_value(&self, query: &Query) -> Option<Found> {
        let hashed = self.entries.hashed(&query.key);
        let entry = self.entries.get(hashed, self.clock.now())?;
        let may_be_served = entry.basis.suits_query(query)
            && self.state(query.fresh.as_ref(), &entry) < State::Gone;
        may_be_served.then_some(Found::Value(entry))
    }

    /// Ends the ttl of the entry of `key`. A load that is under way does not store any more, and no caller
    /// boards it.
    fn expire_key(&self, key: &Key) {
        let removed;
        let mut shard = self.flights.lock(key);
        shard.forget(key);
        let (now, moment) = (self.clock.now(), self.clock.moment());
        let entry = self.entries.get(self.entries.hashed(key), now);
        let life = entry.as_ref().and_then(|entry| entry.basis.life());
        let is_kept = life.is_some_and(|life| life.expire(moment));
        removed = if is_kept {
            None
        } else {
            self.entries.remove(key, now)
        };
        drop(shard);
        drop(removed);
        drop(entry);
    }

    /// Starts a flight in the place of the current one, whose load does not store any more: of two
    /// loads, the one that begins later is stored. `None` as for [`look_and_board`](Self::look_and_board).
    pub(super) fn board_for_refresh(
        &self,
        query: &Query,
        tie: Option<&Tie<'_>>,
    ) -> Option<Boarded> {
        let key = &query.key;
        let tags = &*self.tags_of(query);
        let basis = self.basis(query, tags, tie);
        let hash = self.entries.hashed(key).hash;
        let mut shard = self.flights.lock(key);
        // As in `look_and_board`.
        if self.fences.stand(tags.iter().chain([key])) || self.holds_newer(query) {
            return Some(Boarded::Unstored);
        }
        if tie.is_some_and(Tie::is_outdated) {
            return None;
        }
        let evidence = Evidence::Local(LocalEvidence {
            basis,
            hash,
            is_refresh: true,
        });
        Some(Boarded::Lead(shard.start(key, Some(evidence))))
    }

    /// Hands the value to the callers that wait, and stores it unless an invalidation has
    /// forgotten the flight.
    fn land_and_store(
        &self,
        query: &Query,
        mut leader: Leader<Evidence>,
        filling: &Filling<'_>,
        ttl: &dyn Fn() -> Option<Duration>,
    ) -> Filled {
        let key = &query.key;
        let (value, told) = (filling.value.share(), filling.tags);
        let weight = self.weigh(key, filling.value);
        let evidence = leader.evidence();
        let evidence = evidence.as_deref().and_then(Evidence::local);
        let mut narrowed = None;
        if query.learns_tags {
            // Before others wake and look again.
            self.remembered.set(key, told);
            narrowed = evidence.map(|evidence| self.narrowed(query, told, evidence));
        }
        // Without evidence, no caller boards once the load has begun.
        let is_covered = !matches!(narrowed, Some(None));
        if !leader.claim_and_land(value.clone(), is_covered) {
            return Filled::Superseded;
        }
        let Some(LocalEvidence {
            basis,
            hash,
            is_refresh,
        }) = evidence
        else {
            leader.finish();
            return Filled::Unstorable;
        };
        let ttl = ttl();
        let filled = match ttl {
            None => Filled::Unwanted,
            Some(_) if !is_covered => Filled::NewTags,
            Some(_) if !self.entries.holds(weight) => Filled::TooHeavy,
            Some(ttl) => Filled::Stored(ttl),
        };
        let Filled::Stored(ttl) = filled else {
            if *is_refresh {
                // The entry that is there is older than this value.
                let remove = || self.entries.remove(key, self.clock.now());
                drop(leader.finish_storing(remove));
            } else {
                leader.finish();
            }
            return filled;
        };
        let narrowed = narrowed.flatten();
        let basis = narrowed.as_ref().unwrap_or(basis);
        let basis = sabotage::basis_of_fill(basis, || {
            let tags: Vec<Key> = basis.tags().cloned().collect();
            self.tags.read(&tags, basis.schema(), query.learns_tags)
        });
        let basis = match self.life(query, ttl, filling.cost) {
            Some(life) => basis.with(life),
            None => basis,
        };
        let entry = Entry { value, basis };
        let key = Hashed { key, hash: *hash };
        // What the entry replaces is dropped after the lock: `Drop` may be the user's.
        let life = query.life(ttl);
        match leader.finish_storing(|| self.insert(key, entry, weight, life)) {
            Some(replaced) => {
                drop(replaced);
                Filled::Stored(ttl)
            }
            None => Filled::Overtaken,
        }
    }

    /// The basis of an entry with the tags that its value told; `None` if one of them is not in the
    /// evidence.
    fn narrowed(&self, query: &Query, told: &[Key], evidence: &LocalEvidence) -> Option<Basis> {
        let further = told.iter().filter(|tag| !query.tags.contains(tag));
        let tags = query.tags.iter().chain(further);
        let narrowed = evidence.basis.narrowed(tags.clone());
        if narrowed.is_none() && !sabotage::keeps(Rule::TagsBeforeLoad) {
            let tags: Vec<Key> = tags.cloned().collect();
            return Some(self.tags.read(&tags, query.schema, true));
        }
        narrowed
    }

    /// Stores a value that no flight loaded, or behind a fence removes the entry. An invalidation
    /// comes before all of it or after all of it, by the lock of the key's flights or, for a tag,
    /// by the versions that are read first. `None` as for [`look_and_board`](Self::look_and_board).
    pub(super) fn store(
        &self,
        query: &Query,
        value: &dyn Storable,
        ttl: Duration,
        tie: Option<&Tie<'_>>,
    ) -> Option<Filled> {
        let Query { key, tags, .. } = query;
        let (weight, value) = (self.weigh(key, value), value.share());
        let mut basis = self.basis(query, tags, tie);
        if let Some(life) = self.life(query, ttl, Duration::ZERO) {
            basis = basis.with(life);
        }
        let mut shard = self.flights.lock(key);
        // The API by hand has no schema version, and `set` replaces any entry.
        if query.site.is_some() && self.holds_newer(query) {
            return Some(Filled::Unstorable);
        }
        if tie.is_some_and(Tie::is_outdated) {
            return None;
        }
        shard.forget(key);
        let is_fenced = self.fences.stand(tags.iter().chain([key]));
        let is_too_heavy = !self.entries.holds(weight);
        let (removed, replaced);
        if is_fenced || is_too_heavy {
            removed = self.entries.remove(key, self.clock.now());
            drop(shard);
            drop(removed);
            Some(if is_fenced {
                Filled::Unstorable
            } else {
                Filled::TooHeavy
            })
        } else {
            let (key, entry) = (self.entries.hashed(key), Entry { value, basis });
            replaced = self.insert(key, entry, weight, query.life(ttl));
            drop(shard);
            drop(replaced);
            Some(Filled::Stored(ttl))
        }
    }

    /// Removes the entry of `key`, and returns whether it was alive. A load that is under way does
    /// not store any more, and no caller boards it.
    pub(super) fn remove(&self, key: &Key) -> bool {
        let mut shard = self.flights.lock(key);
        shard.forget(key);
        let removed = self.entries.remove(key, self.clock.now());
        drop(shard);
        removed.is_some_and(|(_, is_alive)| is_alive)
    }

    fn invalidate_names(&self, names: &[Key]) {
        for name in names {
            self.remove(name);
            self.tags.invalidate(name);
        }
    }

    /// Invalidates all names in some buckets: the loads that are under way, the versions of tags,
    /// and then the entries. So a load that began before this stores no entry after its key was
    /// looked at here.
    fn invalidate_buckets(&self, buckets: &Buckets) {
        let is_in = |name: &Key| buckets.contain(name.bytes());
        self.flights.forget_where(is_in);
        self.tags.invalidate_where(is_in);
        self.entries.remove_where(|key| buckets.contain(key));
    }

    /// Invalidates all names that match a pattern, but for the entries, which the result is to remove. In
    /// the order of `invalidate_buckets`.
    fn begin_to_invalidate<'a>(&'a self, pattern: &'a Pattern) -> Walk<'a> {
        let is_meant = |name: &Key| pattern.matches_bytes(name.bytes());
        self.flights.forget_where(is_meant);
        self.tags.invalidate_where(is_meant);
        Walk::new(&self.entries, &self.clock, pattern)
    }

    /// The copy of a call's entry, if the call may be served it.
    pub(super) fn find_copy(&self, query: &Query) -> Option<Entry> {
        let copy = self.peek(&query.key)?;
        let value_type = query.value_type.map_or(0, |value_type| value_type.hash);
        let suits = copy.basis.suits_query(query) && copy.basis.is_of_type(value_type);
        suits.then_some(copy)
    }

    pub(super) fn invalidate_tag(&self, tag: &Key) {
        self.tags.invalidate(tag);
    }

    /// Invalidates all names that match a pattern, without a pause.
    pub(super) fn invalidate_matching_now(&self, pattern: &Pattern) {
        let is_meant = |name: &Key| pattern.matches_bytes(name.bytes());
        self.flights.forget_where(is_meant);
        self.tags.invalidate_where(is_meant);
        self.entries.remove_where(|key| pattern.matches_bytes(key));
    }

    /// Reads the versions of tags, for a load that begins now.
    fn basis(&self, query: &Query, tags: &[Key], tie: Option<&Tie<'_>>) -> Basis {
        tie.map_or_else(|| self.basis_of(query, tags), Tie::basis)
    }

    /// The entry that a call may be served at once.
    pub(super) fn find_fresh(&self, query: &Query) -> Option<Entry> {
        let entry = self.peek(&query.key)?;
        let freshness = query.fresh.as_ref().unwrap_or(&Freshness::NONE);
        let suits = entry.basis.suits_query(query) && self.is_fresh(freshness, &entry);
        suits.then_some(entry)
    }

    /// Reads the versions of tags, for a copy of what a server holds.
    pub(super) fn basis_of(&self, query: &Query, tags: &[Key]) -> Basis {
        self.tags.read(tags, query.schema, query.learns_tags)
    }

    /// Stores a copy of what a server holds, unless it is outdated. That is asked under the lock under which
    /// a key is invalidated.
    pub(super) fn store_copy(
        &self,
        key: &Key,
        value: &dyn Storable,
        basis: Basis,
        ttl: Duration,
        is_outdated: impl FnOnce() -> bool,
    ) {
        let weight = self.weigh(key, value);
        if !self.entries.holds(weight) {
            return;
        }
        let value = value.share();
        let hashed = self.entries.hashed(key);
        let replaced;
        let shard = self.flights.lock(key);
        if is_outdated() {
            return;
        }
        replaced = self.insert(hashed, Entry { value, basis }, weight, ttl);
        drop(shard);
        drop(replaced);
    }

    pub(super) fn remove_all(&self) {
        drop(self.flights.forget_all(|| self.entries.drain()));
    }

    /// Puts an entry into the table, and returns the entries that had to make room.
    fn insert(&self, key: Hashed<'_>, entry: Entry, weight: u64, ttl: Duration) -> Vec<Entry> {
        let (expiry, now) = (self.clock.expiry(ttl), self.clock.now());
        self.entries.insert(key, entry, weight, expiry, now)
    }

    /// What an entry weighs, with its place and its key; zero where entries are not weighed. To be asked outside
    /// of all locks: the weigher is the user's code.
    fn weigh(&self, key: &Key, value: &dyn Storable) -> u64 {
        if !self.weighs.load(Ordering::Relaxed) {
            return 0;
        }
        let weight = PLACE + key.bytes().len() + value.weigh(&self.weigher);
        u64::try_from(weight).unwrap_or(u64::MAX)
    }
}

impl Store for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    async fn look(
        &self,
        query: &Query,
        _undecodable: Option<Mark>,
        _asking_since: Option<Instant>,
    ) -> Look {
        let look = self.look_and_board(query, None);
        look.unwrap_or(Look::Miss(Miss::Fenced))
    }

    fn board<'a>(
        &'a self,
        _query: &'a Query,
        miss: Miss,
        _asking_since: Option<Instant>,
    ) -> MaybeReady<'a, Boarded> {
        MaybeReady::Ready(Some(match miss {
            Miss::Boarded(waiter) => Boarded::Wait(waiter),
            _ => Boarded::Unstored,
        }))
    }

    fn board_refresh<'a>(&'a self, query: &'a Query) -> MaybeReady<'a, Boarded> {
        let boarded = self.board_for_refresh(query, None);
        MaybeReady::Ready(Some(boarded.unwrap_or(Boarded::Unstored)))
    }

    fn age(&self, _query: &Query, found: &Found) -> Option<Age> {
        match found {
            Found::Value(entry) => Some(entry.basis.life()?.age(self.clock.moment())),
            Found::Encoded(_) | Found::ToCopy(..) => None,
        }
    }

    fn board_beside<'a>(&'a self, query: &'a Query, found: &'a Found) -> MaybeReady<'a, Beside> {
        MaybeReady::Ready(Some(match found {
            Found::Value(entry) => self.board_beside_value(query, entry),
            Found::Encoded(_) | Found::ToCopy(..) => Beside::Skip,
        }))
    }

    fn find_old<'a>(&'a self, query: &'a Query) -> MaybeReady<'a, Option<Found>> {
        MaybeReady::Ready(Some(self.find_old_value(query)))
    }

    /// In this process, the caller notes it.
    fn note_failure(&self, evidence: &Evidence, _pause: Duration, _excused: bool) -> bool {
        evidence.local().is_some_and(|it| it.is_refresh)
    }

    async fn find_at_any_age(&self, key: &Key) -> Result<Option<(Found, About)>, Error> {
        let now = self.clock.now();
        // Before the entry: if another one comes in between, its stamp is compared with a newer value.
        let stamp = self.entries.stamp(key, now);
        let entry = self.entries.get(self.entries.hashed(key), now);
        let (Some(stamp), Some(entry)) = (stamp, entry) else {
            return Ok(None);
        };
        let moment = self.clock.moment();
        let life = entry.basis.life();
        let expiry = self.entries.expiry(key, now);
        let ends = life.map(Life::fresh_until).into_iter().chain(expiry).min();
        let about = About {
            age: life.map(|life| life.age(moment).since_created),
            remaining: ends.map_or(Duration::ZERO, |end| self.clock.until(end)),
            // That of this entry, if another has taken the place of the one that was stamped.
            stamp: entry.basis.stamp().unwrap_or(stamp),
        };
        Ok(Some((Found::Value(entry), about)))
    }

    async fn inspect(&self, key: &Key) -> Result<Inspection, Error> {
        Ok(self.inspect_name(key))
    }

    fn servers(&self) -> StoreState {
        StoreState::without_server(StoreKind::InProcess, self.fences.count())
    }

    async fn expire(&self, keys: &[Key]) -> Result<(), Error> {
        for key in keys {
            self.expire_key(key);
        }
        Ok(())
    }

    fn board_unstored(&self, key: &Key) -> Option<Seat<Evidence>> {
        Some(self.flights.board(key, None))
    }

    fn fill<'a>(
        &'a self,
        query: &'a Query,
        leader: Leader<Evidence>,
        filling: &Filling<'_>,
        ttl: &dyn Fn() -> Option<Duration>,
    ) -> MaybeReady<'a, Filled> {
        let filled = self.land_and_store(query, leader, filling, ttl);
        MaybeReady::Ready(Some(filled))
    }

    fn fill_many<'a>(&'a self, fills: Vec<Fill<'a>>) -> MaybeReady<'a, Vec<Filled>> {
        let filled = fills
            .into_iter()
            .map(|fill| self.land_and_store(fill.query, fill.leader, &fill.filling, &|| fill.ttl));
        MaybeReady::Ready(Some(filled.collect()))
    }

    async fn get(&self, key: &Key) -> Result<Option<Found>, Error> {
        Ok(self.peek(key).map(Found::Value))
    }

    async fn remaining(&self, key: &Key, _found: &Found) -> Result<Option<Duration>, Error> {
        let Some(entry) = self.peek(key) else {
            return Ok(None);
        };
        let fresh_until = entry.basis.life().map(Life::fresh_until);
        let expiry = self.entries.expiry(key, self.clock.now());
        let end = fresh_until.into_iter().chain(expiry).min();
        Ok(end.map(|end| self.clock.until(end)))
    }

    async fn set(
        &self,
        query: &Query,
        filling: &Filling<'_>,
        ttl: Duration,
    ) -> Result<Filled, Error> {
        if query.learns_tags {
            self.remembered.set(&query.key, filling.tags);
        }
        let stored = self.store(query, filling.value, ttl, None);
        Ok(stored.unwrap_or(Filled::Unstorable))
    }

    async fn delete(&self, key: &Key) -> Result<bool, Error> {
        Ok(self.remove(key))
    }

    async fn invalidate(&self, names: &[Key]) -> Result<(), Error> {
        self.invalidate_names(names);
        Ok(())
    }

    fn invalidate_now(&self, names: &[Key]) -> bool {
        self.invalidate_names(names);
        true
    }

    fn invalidate_later(&self, names: &[Key]) {
        self.invalidate_names(names);
    }

    fn invalidate_buckets_later(&self, buckets: Buckets) {
        self.invalidate_buckets(&buckets);
    }

    async fn invalidate_matching(
        &self,
        pattern: &Pattern,
        removal: &Removal<'_>,
    ) -> Result<(), Error> {
        self.begin_to_invalidate(pattern).walk(removal).await;
        Ok(())
    }

    fn invalidate_matching_later(&self, pattern: &Pattern) {
        drop(self.begin_to_invalidate(pattern));
    }

    async fn clear(&self) -> Result<(), Error> {
        self.remove_all();
        Ok(())
    }

    async fn fence(&self, names: &[Key], writer: u64, _length: Duration) -> Result<(), Error> {
        self.fences.join(names, writer);
        self.invalidate_names(names);
        Ok(())
    }

    async fn unfence(&self, names: &[Key], writer: u64) -> Result<(), Error> {
        self.fences.leave(names, writer);
        Ok(())
    }

    fn unfence_now(&self, names: &[Key], writer: u64) -> bool {
        self.fences.leave(names, writer);
        true
    }

    fn abandon_fence(&self, names: &[Key], writer: u64, left: Duration) {
        self.fences.abandon(names, writer, left);
    }

    fn held(&self) -> Held {
        Held {
            entries: self.entries.len() as u64,
            bytes: self.entries.weight(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Codec, Reason};
    use crate::flight::{Landing, Patience};
    use crate::tier::Encoded;
    use std::any::Any;
    use std::sync::Arc;

    const LONG: Duration = Duration::from_secs(60);
    const PATIENCE: Patience = Patience {
        limit: LONG,
        hedge: LONG,
    };

    fn local() -> Local {
        let bound = Bound {
            max_entries: 10,
            max_bytes: None,
            weigher: Weigher::default(),
        };
        Local::new(bound, Clock::SYSTEM)
    }

    fn query(key: &Key, tags: &[Key]) -> Query {
        Query::by_hand(key.clone(), tags.to_vec(), LONG)
    }

    fn look(local: &Local, key: &Key, tags: &[Key]) -> Seat<Evidence> {
        match local
            .look_and_board(&query(key, tags), None)
            .expect("it is tied to nothing")
        {
            Look::Lead(leader) => Seat::Lead(leader),
            Look::Miss(Miss::Boarded(waiter)) => Seat::Wait(waiter),
            other => panic!("expected a flight: {other:?}"),
        }
    }

    fn lead(local: &Local, key: &Key, tags: &[Key]) -> Leader<Evidence> {
        match look(local, key, tags) {
            Seat::Lead(leader) => leader,
            seat @ Seat::Wait(_) => panic!("expected to lead: {seat:?}"),
        }
    }

    fn fill(local: &Local, key: &Key, leader: Leader<Evidence>, value: i32) -> Filled {
        let filling = Filling {
            value: &Number(value),
            tags: &[],
            cost: Duration::ZERO,
            codec: Codec::JSON,
            is_checked: false,
        };
        local.land_and_store(&query(key, &[]), leader, &filling, &|| Some(LONG))
    }

    struct Number(i32);

    impl Storable for Number {
        fn share(&self) -> SharedValue {
            Arc::new(self.0)
        }

        fn weigh(&self, weigher: &Weigher) -> usize {
            weigher.weigh(&self.0)
        }

        fn encode(&self, _: Codec, _: bool) -> Result<Encoded, Reason> {
            unreachable!("the local tier writes nothing")
        }
    }

    #[test]
    fn a_load_that_an_invalidation_overtook_is_not_stored() {
        let local = local();
        let key = Key::from("user:1");
        let leader = lead(&local, &key, &[]);
        local.invalidate_names(std::slice::from_ref(&key));
        let filled = fill(&local, &key, leader, 1);
        assert!(matches!(filled, Filled::Overtaken), "{filled:?}");
        assert!(local.peek(&key).is_none());
    }

    #[test]
    fn a_load_whose_tag_was_invalidated_is_neither_served_nor_boarded() {
        let local = local();
        let (key, tags) = (Key::from("user:1"), [Key::from("users")]);
        let first = lead(&local, &key, &tags);
        local.invalidate_names(&tags);
        // A caller that comes now does not share the first load.
        let second = lead(&local, &key, &tags);
        fill(&local, &key, second, 2);
        fill(&local, &key, first, 1);
        let entry = local.peek(&key).expect("the second load is stored");
        let value: &dyn Any = &*entry.value;
        assert_eq!(value.downcast_ref::<i32>(), Some(&2));
    }

    #[test]
    fn a_load_behind_a_fence_is_not_stored() {
        let local = local();
        let key = Key::from("user:1");
        assert!(local.invalidate_now(&[]));
        local.fences.join(std::slice::from_ref(&key), 1);
        let look = local
            .look_and_board(&query(&key, &[]), None)
            .expect("it is tied to nothing");
        assert!(matches!(look, Look::Miss(Miss::Fenced)), "{look:?}");
        let Seat::Lead(mut leader) = local.flights.board(&key, None) else {
            panic!("expected to lead");
        };
        leader.begin(None);
        let filled = fill(&local, &key, leader, 1);
        assert!(matches!(filled, Filled::Unstorable), "{filled:?}");
        assert!(local.peek(&key).is_none());
    }

    #[tokio::test]
    async fn a_dropped_leader_hands_over_to_a_waiter() {
        let local = local();
        let key = Key::from("user:1");
        let leader = lead(&local, &key, &[]);
        let Seat::Wait(waiter) = look(&local, &key, &[]) else {
            panic!("expected to wait");
        };
        drop(leader);
        let landing = waiter.wait(PATIENCE).await;
        let Landing::Lead(leader) = landing else {
            panic!("expected to lead: {landing:?}");
        };
        fill(&local, &key, leader, 1);
        assert!(local.peek(&key).is_some());
    }

    #[test]
    fn after_a_dropped_leader_without_waiters_the_next_caller_leads() {
        let local = local();
        let key = Key::from("user:1");
        drop(lead(&local, &key, &[]));
        drop(lead(&local, &key, &[]));
    }
}
