//! Where a cache keeps its entries: nowhere, in this process, or on a server.
//!
//! A [`Store`] is one such place, with the verbs of the protocol. A [`Tier`] is the store of one
//! cache; it passes each verb on, and this file has the only `match` on it.
//!
//! A call uses three verbs. It *looks* for an entry. After a miss it *boards* a load: its own, or
//! one that another caller runs. After its own load it *fills*.
//!
//! ```text
//! look ──> Hit                                          an entry may be served
//!   ├────> Lead ───────────────────> load ──> fill      the local tier has boarded already
//!   └────> Miss ──> board ──> Lead ──> load ──> fill    this caller loads, and stores
//!                     ├─────> Wait                      another caller of this process loads
//!                     ├─────> Watch                     another process loads
//!                     ├─────> Unstored                  what is loaded now may not be stored
//!                     ├─────> Alone                     there is no store
//!                     └─────> LookAgain ──> look        the store has changed since the look
//! ```
//!
//! A [`Front`] is a shared store with copies of its entries in this process.
//!
//! [`Look`] is what a look shows, [`Miss`] what it shows without an entry, [`Boarded`] what the
//! caller does then, and [`Filled`] what became of the value that it loaded.

mod front;
pub(crate) mod local;
mod off;
pub(crate) mod remembered;
pub(crate) mod shared;

use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use self::front::Copying;
pub(crate) use self::front::Front;
use self::local::{Local, LocalEvidence};
use self::off::Off;
pub(crate) use self::shared::{Encoded, Mark};
use self::shared::{LeaseEvidence, ServerLook, Shared};
use crate::backlog::Buckets;
use crate::call::site::CallSite;
use crate::codec::{Codec, Payload, Reason};
use crate::error::Error;
use crate::flight::{Leader, Seat, Waiter};
use crate::freshness::{self, Age, Freshness};
use crate::health::Status;
use crate::inspection::{Inspection, StoreState};
use crate::key::{Key, Pattern};
use crate::missed::WhyMissed;
use crate::removal::Removal;
use crate::type_name::ValueType;
use crate::value::{CacheValue, Outcome, SharedValue, outcome};
use crate::weigher::Weigher;

/// Where one cache keeps its entries.
#[derive(Debug)]
pub(crate) enum Tier {
    Off(Off),
    Local(Local),
    Shared(Front),
}

/// Where a cache keeps things, for what is no verb of the protocol: the toolkit, counts and budgets.
pub(crate) enum Room<'a> {
    /// The cache is off.
    None,
    InProcess(&'a Local),
    Server(&'a Shared),
}

/// What a call asks a store for.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) key: Key,
    /// The tags that are known before the load.
    pub(crate) tags: Vec<Key>,
    /// Whether the value tells further tags. Then only an entry that has those of its value, too, is
    /// served.
    pub(crate) learns_tags: bool,
    /// Entries of another schema version are not served.
    pub(crate) schema: u32,
    /// The type of the value: an entry of another type is not served. `None` by hand, and in the
    /// local tier, where each reader checks the value itself.
    pub(crate) value_type: Option<ValueType>,
    /// How long a value is cached, if it does not say otherwise itself.
    pub(crate) ttl: Duration,
    /// How long this process may keep a copy of what a server holds; zero for not at all.
    pub(crate) local_ttl: Duration,
    /// Whether its values never leave the process.
    pub(crate) is_local: bool,
    /// How long a `None` is cached; without it, a `None` is not cached.
    pub(crate) none_ttl: Option<Duration>,
    /// What the call's function says of old values.
    pub(crate) fresh: Option<Freshness>,
    pub(crate) site: Option<&'static CallSite>,
    /// Why it is not answered, as far as a look has shown it.
    pub(crate) missed: WhyMissed,
}

impl Query {
    /// What is asked by hand, for no function.
    #[inline]
    pub(crate) fn by_hand(key: Key, tags: Vec<Key>, ttl: Duration) -> Self {
        Self {
            key,
            tags,
            learns_tags: false,
            schema: 0,
            value_type: None,
            ttl,
            local_ttl: Duration::ZERO,
            is_local: false,
            none_ttl: None,
            fresh: None,
            site: None,
            missed: WhyMissed::default(),
        }
    }

    /// The longest that what this call stores may be served.
    fn longest_life(&self) -> Duration {
        self.life(self.ttl.max(self.none_ttl.unwrap_or_default()))
    }

    /// Whether one of its names is known otherwise on servers.
    fn has_long_name(&self) -> bool {
        self.tags.iter().chain([&self.key]).any(Key::is_long)
    }

    /// How long an entry is kept that is fresh for `ttl`.
    fn life(&self, ttl: Duration) -> Duration {
        freshness::life(self.fresh.as_ref(), ttl)
    }
}

/// What one look shows.
#[derive(Debug)]
pub(crate) enum Look {
    /// An entry that may be served.
    Hit(Found),
    /// There is no such entry, and this caller loads. Only the local tier shows this: it looks and
    /// boards under one lock.
    Lead(Leader<Evidence>),
    /// There is no such entry, and [`Store::board`] decides what the caller does.
    Miss(Miss),
}

/// An entry that may be served, as its store keeps it.
#[derive(Debug)]
pub(crate) enum Found {
    /// In the local tier: a value of a type that only its reader knows.
    Value(local::Entry),
    /// In the shared tier: bytes, still encoded.
    Encoded(shared::Entry),
    /// Such bytes, of which a copy may be kept in this process.
    ToCopy(Box<ToCopy>),
}

/// An entry of the shared tier, and what is needed to keep a copy of it, until that is taken.
#[derive(Debug)]
pub(crate) struct ToCopy {
    entry: shared::Entry,
    copying: Option<Copying>,
}

/// What is known of a stored value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About {
    pub(crate) age: Option<Duration>,
    /// How long it is still fresh.
    pub(crate) remaining: Duration,
    /// Another one for each value that was ever stored.
    pub(crate) stamp: u64,
}

/// What a look shows where no entry may be served. [`Store::board`] takes it.
#[derive(Debug)]
pub(crate) enum Miss {
    /// Another caller loads, and this one has boarded its load. The local tier boards when it looks.
    Boarded(Waiter<Evidence>),
    /// In the shared tier, the slot and the versions that the server has shown: no entry, or one
    /// that may not be served.
    AtServer(Box<ServerLook>),
    /// In the local tier, writers are at work. Nothing that is loaded now may be stored.
    Fenced,
    /// In the local tier, the entry is of a newer schema version. It is not replaced.
    Newer,
    /// In the shared tier, the look failed, or an invalidation of one of the names is still due.
    /// Whatever the server holds, the call does not use it.
    Unknown,
    /// There is no store.
    Off,
}

/// What a caller does after a miss.
#[derive(Debug)]
pub(crate) enum Boarded {
    /// The caller loads, for all callers that board its flight. It stores what it loaded if its
    /// flight has evidence. Without evidence (the lease was not to be had), it stores nothing.
    Lead(Leader<Evidence>),
    /// Another process loads. The caller watches the store for the entry, on behalf of all callers
    /// of this process.
    Watch(Leader<Evidence>),
    /// The caller waits for the load of another caller in this process.
    Wait(Waiter<Evidence>),
    /// The caller loads, and stores nothing. It shares its load only with callers that come before
    /// that load begins.
    Unstored,
    /// The caller loads for itself only, and stores nothing.
    Alone,
    /// The entry is past its ttl, and its load has failed a moment ago: it is served in the place of the
    /// error.
    Old(Box<Found>),
    /// The store has changed since the look: the caller looks again.
    LookAgain,
}

/// What a caller does that would refresh an entry beside it.
#[derive(Debug)]
pub(crate) enum Beside {
    /// It loads. What it loads replaces this entry and no other.
    Lead(Leader<Evidence>),
    /// Another caller does, in this process or another.
    Held,
    /// The last load has failed, and is not tried again for so long.
    Failed {
        left: Duration,
        /// Whether the old value is served in the place of the error.
        excused: bool,
    },
    /// Nothing: the entry is another one by now, or what is loaded could not be stored.
    Skip,
}

/// What a caller saw before its load began, and an invalidation would have changed. Callers that
/// saw the same may share a load.
#[derive(Debug)]
pub(crate) enum Evidence {
    Local(LocalEvidence),
    /// Boxed to keep flights of the local tier small.
    Shared(Box<LeaseEvidence>),
}

/// A value that a store is given, and how to write it.
pub(crate) struct Filling<'a> {
    pub(crate) value: &'a dyn Storable,
    /// The tags that the value tells: sorted, each of them once.
    pub(crate) tags: &'a [Key],
    /// How long the load took. The shared tier keeps it in the entry.
    pub(crate) cost: Duration,
    /// How the shared tier encodes the value. The local tier keeps the value as it is.
    pub(crate) codec: Codec,
    /// Whether the shared tier decodes the value once more, and compares it.
    pub(crate) is_checked: bool,
}

/// What a load for several keys yielded for one of them.
pub(crate) struct Fill<'a> {
    pub(crate) query: &'a Query,
    pub(crate) leader: Leader<Evidence>,
    pub(crate) filling: Filling<'a>,
    /// How long the value may be served, or `None` if it is not to be stored.
    pub(crate) ttl: Option<Duration>,
}

/// What became of the value that a load yielded.
#[derive(Debug)]
pub(crate) enum Filled {
    /// It is stored, and may be served for this long.
    Stored(Duration),
    /// Not stored: an invalidation, a fence or another entry came while it was loaded.
    Overtaken,
    /// Not stored: it has tags whose versions were not read before the load. Those of its next load
    /// will be.
    NewTags,
    /// Not stored: another attempt of the flight ended first.
    Superseded,
    /// Not stored: its load has no evidence, so nothing shows whether an invalidation came while it
    /// was loaded.
    Unstorable,
    /// Not stored: its function or its options say so.
    Unwanted,
    /// Not stored: it weighs more than all entries may together.
    TooHeavy,
    /// Not stored: it could not be encoded or written. After an error of the server, it may have
    /// been stored.
    Failed(Error),
}

/// A value in both of the forms in which stores keep one.
pub(crate) trait Storable: Send + Sync {
    fn share(&self) -> SharedValue;

    /// How many bytes it takes in this process.
    fn weigh(&self, weigher: &Weigher) -> usize;

    /// With `is_checked`, a value that would come back as another one is an error.
    fn encode(&self, codec: Codec, is_checked: bool) -> Result<Encoded, Reason>;
}

/// Renews a lease for as long as it is polled.
pub(crate) type Renewal = Pin<Box<dyn Future<Output = Infallible> + Send>>;

/// What waits until its invalidation can be carried out.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Waiting {
    pub(crate) names: usize,
    /// Whether there are more names than there is room for, which are kept as buckets.
    pub(crate) has_overflowed: bool,
}

/// What a process holds of entries.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) entries: u64,
    /// What they weigh, where that is bounded.
    pub(crate) bytes: Option<u64>,
}

/// The answer of a store to one verb. The local tier answers at once, the shared tier after a round
/// trip.
///
/// The verbs that return it are not `async fn`s. A future has room for what it awaits, once more
/// for each function that passes it on, and the call's own future would have all of that room.
pub(crate) enum MaybeReady<'a, T> {
    /// The answer, until it is taken.
    Ready(Option<T>),
    /// The answer comes later.
    Later(Pin<Box<dyn Future<Output = T> + Send + 'a>>),
}

/// A place for entries, with the verbs of the protocol.
///
/// An annotated call uses `look`, `board`, `board_refresh` or `board_unstored`, `renew` and `fill`, or those
/// of them that end in `_many`, where one load is for several keys. The API by hand
/// uses `get`, `remaining`, `set`, `delete` and `clear`. Invalidations use `invalidate`, `fence`
/// and their variants: those that end in `_now` do it only if that takes no waiting, those that end
/// in `_later` do it in the background.
///
/// An error means that the verb was not carried out, or that this is not known. Every future may
/// be dropped at any point.
pub(crate) trait Store {
    fn name(&self) -> &'static str;

    /// Looks for an entry that may be served. The entry with the mark `undecodable` may not: this
    /// call could not decode it, and the load that follows replaces it. A call that has been asking the
    /// store since `asking_since`, itself or with the leader of a flight, has so much less time.
    fn look(
        &self,
        query: &Query,
        undecodable: Option<Mark>,
        asking_since: Option<Instant>,
    ) -> impl Future<Output = Look> + Send;

    /// Decides what a caller does after a miss: boards a flight, starts one, or says why it does
    /// neither. If the caller leads a flight with evidence, the versions were read and the lease
    /// was taken before this answers. `asking_since` is as in `look`.
    fn board<'a>(
        &'a self,
        query: &'a Query,
        miss: Miss,
        asking_since: Option<Instant>,
    ) -> MaybeReady<'a, Boarded>;

    /// Boards for a call that loads whatever is stored: its load, or the one that it waits for, begins
    /// after this was called. An entry that may be served is served meanwhile, and stays if the load
    /// fails.
    fn board_refresh<'a>(&'a self, query: &'a Query) -> MaybeReady<'a, Boarded>;

    /// How old an entry is that this call was shown; `None` where nothing was noted of that.
    fn age(&self, query: &Query, found: &Found) -> Option<Age>;

    /// Boards a refresh of this entry, unless it is refreshed already. The entry stays, and is served.
    fn board_beside<'a>(&'a self, query: &'a Query, found: &'a Found) -> MaybeReady<'a, Beside>;

    /// The valid entry of a call, however old it is, as long as it may be served in the place of an error.
    fn find_old<'a>(&'a self, query: &'a Query) -> MaybeReady<'a, Option<Found>>;

    /// Notes that the load with this evidence has failed: other processes do not try it again for so long.
    /// Returns whether there is an old entry, which the load was to replace; else there is nothing to note.
    fn note_failure(&self, evidence: &Evidence, pause: Duration, excused: bool) -> bool;

    /// Whether another process may still be loading what this miss has shown.
    fn is_under_way<'a>(&'a self, _query: &'a Query, _miss: &'a Miss) -> MaybeReady<'a, bool> {
        MaybeReady::Ready(Some(true))
    }

    /// The entry of a key that was not invalidated, whatever its tags and its age.
    fn find_at_any_age(
        &self,
        key: &Key,
    ) -> impl Future<Output = Result<Option<(Found, About)>, Error>> + Send;

    /// Has the entries of keys be past their ttl from now on. One that no option allows to be served then
    /// is removed. A load that is under way does not store.
    fn expire(&self, keys: &[Key]) -> impl Future<Output = Result<(), Error>> + Send;

    /// For a load that is not stored: boards the current flight if its load has not begun, or else
    /// starts one. `None` if this store shares no loads.
    fn board_unstored(&self, key: &Key) -> Option<Seat<Evidence>>;

    /// Keeps the leader's lease alive, if it has one, for at most `limit`.
    fn renew(&self, _leader: &Leader<Evidence>, _limit: Duration) -> Option<Renewal> {
        None
    }

    /// Ends a flight: hands the value to the callers that wait for it, and stores it unless it
    /// was invalidated meanwhile. If another attempt of the flight was first, does neither.
    ///
    /// `ttl` returns how long the value may be served, or `None` if it is not to be stored. It runs
    /// the user's code, so it is called only if the value can be stored.
    fn fill<'a>(
        &'a self,
        query: &'a Query,
        leader: Leader<Evidence>,
        filling: &Filling<'_>,
        ttl: &dyn Fn() -> Option<Duration>,
    ) -> MaybeReady<'a, Filled>;

    /// What [`look`](Self::look) shows for each of these calls, which one load is for.
    fn look_many(&self, queries: &[&Query]) -> impl Future<Output = Vec<Look>> + Send
    where
        Self: Sync,
    {
        async move {
            let mut looks = Vec::with_capacity(queries.len());
            for query in queries {
                looks.push(self.look(query, None, None).await);
            }
            looks
        }
    }

    /// What [`board`](Self::board) decides for each of these misses.
    fn board_many(&self, misses: Vec<(&Query, Miss)>) -> impl Future<Output = Vec<Boarded>> + Send
    where
        Self: Sync,
    {
        async move {
            let mut boarded = Vec::with_capacity(misses.len());
            for (query, miss) in misses {
                boarded.push(self.board(query, miss, None).await);
            }
            boarded
        }
    }

    /// Keeps the leases of these leaders alive, as [`renew`](Self::renew) does.
    fn renew_many(&self, _leaders: &[Leader<Evidence>], _limit: Duration) -> Option<Renewal> {
        None
    }

    /// Does what [`fill`](Self::fill) does, for each of these values.
    fn fill_many<'a>(&'a self, fills: Vec<Fill<'a>>) -> MaybeReady<'a, Vec<Filled>>;

    /// The entry of a key that may be served, whatever its tags.
    fn get(&self, key: &Key) -> impl Future<Output = Result<Option<Found>, Error>> + Send;

    /// How long the entry of a key, which was just found, is still fresh, at most.
    fn remaining(
        &self,
        key: &Key,
        found: &Found,
    ) -> impl Future<Output = Result<Option<Duration>, Error>> + Send;

    /// Stores a value that no flight loaded. A load that is under way does not store over it. Behind
    /// a fence, nothing is stored, and what was there is removed. An invalidation that begins after
    /// this has ended, also with an error, removes the value.
    fn set(
        &self,
        query: &Query,
        filling: &Filling<'_>,
        ttl: Duration,
    ) -> impl Future<Output = Result<Filled, Error>> + Send;

    /// What [`get`](Self::get) yields for each of these keys.
    fn get_many(
        &self,
        keys: &[Key],
    ) -> impl Future<Output = Result<Vec<Option<Found>>, Error>> + Send
    where
        Self: Sync,
    {
        async move {
            let mut all = Vec::with_capacity(keys.len());
            for key in keys {
                all.push(self.get(key).await?);
            }
            Ok(all)
        }
    }

    /// Does what [`set`](Self::set) does, for values of different keys with the same tags, each with its
    /// ttl.
    fn set_many(
        &self,
        settings: &[(Query, Filling<'_>, Duration)],
    ) -> impl Future<Output = Result<Vec<Filled>, Error>> + Send
    where
        Self: Sync,
    {
        async move {
            let mut all = Vec::with_capacity(settings.len());
            for (query, filling, ttl) in settings {
                all.push(self.set(query, filling, *ttl).await?);
            }
            Ok(all)
        }
    }

    /// Does what [`delete`](Self::delete) does, for each of these keys.
    fn delete_many(&self, keys: &[Key]) -> impl Future<Output = Result<Vec<bool>, Error>> + Send
    where
        Self: Sync,
    {
        async move {
            let mut all = Vec::with_capacity(keys.len());
            for key in keys {
                all.push(self.delete(key).await?);
            }
            Ok(all)
        }
    }

    /// Removes the entry of a key, and returns whether there was one. A load of the key that is
    /// under way does not store.
    fn delete(&self, key: &Key) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Invalidates names: each one's entry, and every entry that carries it as a tag. Names
    /// whose invalidation fails, or is dropped, are kept and repeated.
    fn invalidate(&self, names: &[Key]) -> impl Future<Output = Result<(), Error>> + Send;

    /// Invalidates names if that takes no waiting; whether it did.
    fn invalidate_now(&self, names: &[Key]) -> bool;

    /// Invalidates names in the background, for a caller that cannot wait.
    fn invalidate_later(&self, names: &[Key]);

    /// Invalidates, in the background, all names in some buckets.
    fn invalidate_buckets_later(&self, buckets: Buckets);

    /// Invalidates all names that match a pattern: the entries whose keys do, and those that carry a tag
    /// which does. If it fails, or is dropped, the pattern is kept and this is repeated.
    fn invalidate_matching(
        &self,
        pattern: &Pattern,
        removal: &Removal<'_>,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// As [`invalidate_matching`](Self::invalidate_matching), in the background, for a caller that cannot wait.
    fn invalidate_matching_later(&self, pattern: &Pattern);

    /// Removes everything.
    fn clear(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Places a writer in the fence of each name. After an error, some fences may stand.
    fn fence(
        &self,
        names: &[Key],
        writer: u64,
        length: Duration,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Takes a writer out of the fences again. Where that fails, they end at their deadline.
    fn unfence(&self, names: &[Key], writer: u64)
    -> impl Future<Output = Result<(), Error>> + Send;

    /// Takes a writer out of the fences if that takes no waiting; whether it did.
    fn unfence_now(&self, names: &[Key], writer: u64) -> bool;

    /// Gives a writer's fences a deadline, if they have none. Its call is over, and its commit may
    /// still be under way.
    fn abandon_fence(&self, _names: &[Key], _writer: u64, _left: Duration) {}

    /// Checks that the store can be reached, read and written.
    fn ping(&self) -> impl Future<Output = Result<(), Error>> + Send {
        ready(Ok(()))
    }

    /// Waits until every invalidation was carried out, at most for `limit`.
    fn flush(&self, _limit: Duration) -> impl Future<Output = Result<(), Error>> + Send {
        ready(Ok(()))
    }

    /// What is stored under a name, for people. Nothing is changed or counted.
    fn inspect(&self, key: &Key) -> impl Future<Output = Result<Inspection, Error>> + Send;

    /// Replaces a value by one that is encoded already: see [`Cache::set_json`](crate::Cache::set_json).
    fn set_encoded(
        &self,
        key: &Key,
        _payload: Payload,
        _tags: &[Key],
        _ttl: Duration,
    ) -> impl Future<Output = Result<Filled, Error>> + Send {
        let reason = "in this process it is a Rust value, which only a program that names its type can set: \
                      `cache.set(key, &value, options)`";
        ready(Err(Error::codec(key.as_str(), "replaced", &reason)))
    }

    /// What its servers were found to be.
    fn servers(&self) -> StoreState;

    fn status(&self) -> Status {
        Status::Working
    }

    fn waiting(&self) -> Waiting {
        Waiting::default()
    }

    /// What this process holds.
    fn held(&self) -> Held {
        Held::default()
    }
}

impl Boarded {
    /// What the caller leads.
    pub(crate) fn leader(&mut self) -> Option<&mut Leader<Evidence>> {
        match self {
            Self::Lead(leader) | Self::Watch(leader) => Some(leader),
            Self::Wait(_) | Self::Unstored | Self::Alone | Self::Old(_) | Self::LookAgain => None,
        }
    }
}

impl Miss {
    /// Whether the server still shows this evidence: the same lease, with the same versions.
    pub(crate) fn shows(&self, evidence: &Evidence) -> bool {
        matches!(self, Self::AtServer(look) if look.shows(evidence))
    }
}

impl Found {
    /// The mark by which an entry that cannot be decoded is replaced. `None` in the local tier:
    /// there it is the value of another function, which is left alone.
    pub(crate) fn mark(&self) -> Option<Mark> {
        match self {
            Self::Value(_) => None,
            Self::Encoded(entry) => Some(entry.mark),
            Self::ToCopy(it) => Some(it.entry.mark),
        }
    }

    /// Whether a server has shown it.
    pub(crate) fn is_from_server(&self) -> bool {
        !matches!(self, Self::Value(_))
    }

    /// Whether a call with this query stores such an entry: with its tags and its schema version.
    pub(crate) fn suits(&self, query: &Query) -> bool {
        match self {
            Self::Value(entry) => entry.basis.suits_query(query),
            Self::Encoded(entry) => entry_suits(entry, query),
            Self::ToCopy(it) => entry_suits(&it.entry, query),
        }
    }

    /// Whether its value is for callers that saw this evidence before another process's load ended: all
    /// of its tags are in the evidence.
    pub(crate) fn is_covered_by(&self, evidence: &Evidence) -> bool {
        match self {
            Self::Value(_) => true,
            Self::Encoded(entry) => evidence.covers(entry),
            Self::ToCopy(it) => evidence.covers(&it.entry),
        }
    }

    /// The outcome that the entry holds. `share` makes the copy that the other readers of the
    /// same bytes are handed.
    pub(crate) fn outcome<V: CacheValue>(
        &mut self,
        key: &Key,
        share: impl FnOnce(&Outcome<V>) -> SharedValue,
    ) -> Result<Outcome<V>, Error> {
        match self {
            Self::Value(entry) => outcome::<V>(&entry.value)
                .ok_or_else(|| Error::codec(key.as_str(), "read", &"it is of another type")),
            Self::Encoded(entry) => entry.outcome(key, share),
            Self::ToCopy(it) => it.entry.outcome(key, share),
        }
    }

    /// What is needed to keep a copy of it, if one may be kept.
    pub(crate) fn copying(&mut self) -> Option<Copying> {
        match self {
            Self::ToCopy(it) => it.copying.take(),
            Self::Value(_) | Self::Encoded(_) => None,
        }
    }
}

fn entry_suits(entry: &shared::Entry, query: &Query) -> bool {
    entry.header.schema == query.schema
        && shared::is_of_type(query, entry)
        && entry.suits(&query.tags, query.learns_tags)
}

impl PartialEq for Evidence {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Local(one), Self::Local(other)) => one == other,
            (Self::Shared(one), Self::Shared(other)) => one == other,
            _ => false,
        }
    }
}

impl<T: Unpin> Future for MaybeReady<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match &mut *self {
            Self::Ready(answer) => {
                debug_assert!(answer.is_some(), "polled again after its end");
                answer.take().map_or(Poll::Pending, Poll::Ready)
            }
            Self::Later(future) => future.as_mut().poll(context),
        }
    }
}

impl Tier {
    pub(crate) const OFF: Self = Self::Off(Off);

    /// What this process holds, for a hit that is answered at once. A function may have its entries kept
    /// out of the copies.
    #[inline]
    pub(crate) fn as_local(&self, site: &CallSite) -> Option<&Local> {
        match self {
            Self::Local(local) => Some(local),
            Self::Shared(front) if site.local_ttl != Some(Duration::ZERO) => front.copies(),
            _ => None,
        }
    }

    /// Whether values are kept in this process only, as they are.
    pub(crate) fn is_in_process(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    /// The entry of a call whose values never leave the process, in front of a server.
    pub(crate) fn kept_here(&self, query: &Query) -> Option<local::Entry> {
        match self {
            Self::Shared(front) if query.is_local => front.kept_here(query),
            _ => None,
        }
    }

    /// Keeps a copy of what a call was served.
    pub(crate) fn keep_copy(&self, query: &Query, copying: Copying, value: &dyn Storable) {
        if let Self::Shared(front) = self {
            front.keep(query, copying, value);
        }
    }

    /// Whether there is a server, in front of which this process keeps copies.
    pub(crate) fn has_front(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    /// Where the toolkit keeps what it is given.
    pub(crate) fn room(&self) -> Room<'_> {
        match self {
            Self::Off(_) => Room::None,
            Self::Local(local) => Room::InProcess(local),
            Self::Shared(front) => Room::Server(front.shared()),
        }
    }

    pub(crate) fn is_off(&self) -> bool {
        matches!(self, Self::Off(_))
    }
}

/// The `match` on the tier.
macro_rules! on {
    ($tier:expr, $store:ident => $verb:expr) => {
        match $tier {
            Tier::Off($store) => $verb,
            Tier::Local($store) => $verb,
            Tier::Shared($store) => $verb,
        }
    };
}

impl Store for Tier {
    fn name(&self) -> &'static str {
        on!(self, store => store.name())
    }

    async fn look(
        &self,
        query: &Query,
        undecodable: Option<Mark>,
        asking_since: Option<Instant>,
    ) -> Look {
        on!(self, store => store.look(query, undecodable, asking_since).await)
    }

    fn board<'a>(
        &'a self,
        query: &'a Query,
        miss: Miss,
        asking_since: Option<Instant>,
    ) -> MaybeReady<'a, Boarded> {
        on!(self, store => store.board(query, miss, asking_since))
    }

    fn board_refresh<'a>(&'a self, query: &'a Query) -> MaybeReady<'a, Boarded> {
        on!(self, store => store.board_refresh(query))
    }

    fn age(&self, query: &Query, found: &Found) -> Option<Age> {
        on!(self, store => store.age(query, found))
    }

    fn board_beside<'a>(&'a self, query: &'a Query, found: &'a Found) -> MaybeReady<'a, Beside> {
        on!(self, store => store.board_beside(query, found))
    }

    fn find_old<'a>(&'a self, query: &'a Query) -> MaybeReady<'a, Option<Found>> {
        on!(self, store => store.find_old(query))
    }

    fn note_failure(&self, evidence: &Evidence, pause: Duration, excused: bool) -> bool {
        on!(self, store => store.note_failure(evidence, pause, excused))
    }

    fn is_under_way<'a>(&'a self, query: &'a Query, miss: &'a Miss) -> MaybeReady<'a, bool> {
        on!(self, store => store.is_under_way(query, miss))
    }

    async fn find_at_any_age(&self, key: &Key) -> Result<Option<(Found, About)>, Error> {
        on!(self, store => store.find_at_any_age(key).await)
    }

    async fn expire(&self, keys: &[Key]) -> Result<(), Error> {
        on!(self, store => store.expire(keys).await)
    }

    fn board_unstored(&self, key: &Key) -> Option<Seat<Evidence>> {
        on!(self, store => store.board_unstored(key))
    }

    fn renew(&self, leader: &Leader<Evidence>, limit: Duration) -> Option<Renewal> {
        on!(self, store => store.renew(leader, limit))
    }

    fn fill<'a>(
        &'a self,
        query: &'a Query,
        leader: Leader<Evidence>,
        filling: &Filling<'_>,
        ttl: &dyn Fn() -> Option<Duration>,
    ) -> MaybeReady<'a, Filled> {
        on!(self, store => store.fill(query, leader, filling, ttl))
    }

    async fn look_many(&self, queries: &[&Query]) -> Vec<Look> {
        on!(self, store => store.look_many(queries).await)
    }

    async fn board_many(&self, misses: Vec<(&Query, Miss)>) -> Vec<Boarded> {
        on!(self, store => store.board_many(misses).await)
    }

    fn renew_many(&self, leaders: &[Leader<Evidence>], limit: Duration) -> Option<Renewal> {
        on!(self, store => store.renew_many(leaders, limit))
    }

    fn fill_many<'a>(&'a self, fills: Vec<Fill<'a>>) -> MaybeReady<'a, Vec<Filled>> {
        on!(self, store => store.fill_many(fills))
    }

    async fn get(&self, key: &Key) -> Result<Option<Found>, Error> {
        on!(self, store => store.get(key).await)
    }

    async fn remaining(&self, key: &Key, found: &Found) -> Result<Option<Duration>, Error> {
        on!(self, store => store.remaining(key, found).await)
    }

    async fn set(
        &self,
        query: &Query,
        filling: &Filling<'_>,
        ttl: Duration,
    ) -> Result<Filled, Error> {
        on!(self, store => store.set(query, filling, ttl).await)
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Found>>, Error> {
        on!(self, store => store.get_many(keys).await)
    }

    async fn set_many(
        &self,
        settings: &[(Query, Filling<'_>, Duration)],
    ) -> Result<Vec<Filled>, Error> {
        on!(self, store => store.set_many(settings).await)
    }

    async fn delete_many(&self, keys: &[Key]) -> Result<Vec<bool>, Error> {
        on!(self, store => store.delete_many(keys).await)
    }

    async fn delete(&self, key: &Key) -> Result<bool, Error> {
        on!(self, store => store.delete(key).await)
    }

    async fn invalidate(&self, names: &[Key]) -> Result<(), Error> {
        on!(self, store => store.invalidate(names).await)
    }

    fn invalidate_now(&self, names: &[Key]) -> bool {
        on!(self, store => store.invalidate_now(names))
    }

    fn invalidate_later(&self, names: &[Key]) {
        on!(self, store => store.invalidate_later(names));
    }

    fn invalidate_buckets_later(&self, buckets: Buckets) {
        on!(self, store => store.invalidate_buckets_later(buckets));
    }

    async fn invalidate_matching(
        &self,
        pattern: &Pattern,
        removal: &Removal<'_>,
    ) -> Result<(), Error> {
        on!(self, store => store.invalidate_matching(pattern, removal).await)
    }

    fn invalidate_matching_later(&self, pattern: &Pattern) {
        on!(self, store => store.invalidate_matching_later(pattern));
    }

    async fn clear(&self) -> Result<(), Error> {
        on!(self, store => store.clear().await)
    }

    async fn fence(&self, names: &[Key], writer: u64, length: Duration) -> Result<(), Error> {
        on!(self, store => store.fence(names, writer, length).await)
    }

    async fn unfence(&self, names: &[Key], writer: u64) -> Result<(), Error> {
        on!(self, store => store.unfence(names, writer).await)
    }

    fn unfence_now(&self, names: &[Key], writer: u64) -> bool {
        on!(self, store => store.unfence_now(names, writer))
    }

    fn abandon_fence(&self, names: &[Key], writer: u64, left: Duration) {
        on!(self, store => store.abandon_fence(names, writer, left));
    }

    async fn inspect(&self, key: &Key) -> Result<Inspection, Error> {
        on!(self, store => store.inspect(key).await)
    }

    async fn set_encoded(
        &self,
        key: &Key,
        payload: Payload,
        tags: &[Key],
        ttl: Duration,
    ) -> Result<Filled, Error> {
        on!(self, store => store.set_encoded(key, payload, tags, ttl).await)
    }

    fn servers(&self) -> StoreState {
        on!(self, store => store.servers())
    }

    async fn ping(&self) -> Result<(), Error> {
        on!(self, store => store.ping().await)
    }

    async fn flush(&self, limit: Duration) -> Result<(), Error> {
        on!(self, store => store.flush(limit).await)
    }

    fn status(&self) -> Status {
        on!(self, store => store.status())
    }

    fn waiting(&self) -> Waiting {
        on!(self, store => store.waiting())
    }

    fn held(&self) -> Held {
        on!(self, store => store.held())
    }
}
