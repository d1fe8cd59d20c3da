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
//! This file has the verbs of the protocol. What they stand on, in the order of a call:
//!
//! * [`look`]: what the server shows, and whether it may be believed; [`told`], tags that only the value
//!   tells.
//! * [`board`]: which load a call waits for, or what it takes before it loads; [`beside`], the same where
//!   an old entry stays; [`versions`], how those of tags are read and drawn.
//! * A [`lease`] is the right of one caller to fill the slot; [`hold`], what of it stands on the server;
//!   [`mod@fill`], the entry that replaces it. [`load_many`] does all this for one load of several keys.
//! * [`set`], a value by hand; [`many`], several keys by hand; [`inspect`], what people are shown.
//! * [`invalidate`]: by name, and by pattern, of which [`selection`] is what a scan looks for. A [`fence`]
//!   stands while writers are at work, and has a deadline for each of them. The [`journal`] keeps the
//!   names whose invalidation failed.
//! * [`entry`] and [`keyspace`]: what is stored, and what its keys are called.
//! * The [`connector`] decides which connection a request takes: that of a [`node`], with its [`breaker`],
//!   or of several in a [`cluster`]. [`batch`] lets concurrent reads share round trips. The [`keeper`]
//!   mends what is broken.
//! * [`plain`] and [`raw`]: commands of the toolkit.

mod announcement;
mod batch;
mod beside;
mod board;
mod breaker;
mod cluster;
mod connector;
mod diagnose;
mod entry;
mod fence;
mod fill;
mod hearing;
mod hold;
mod inspect;
mod invalidate;
mod journal;
mod keeper;
mod keyspace;
mod lease;
mod load_many;
mod look;
mod many;
mod node;
mod notice;
mod parts;
mod plain;
mod portion;
mod raw;
mod selection;
mod set;
mod told;
mod versions;
mod walk;
mod window;
mod witness;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{Instrument as _, Span};

pub(crate) use self::breaker::Limits;
use self::connector::Connector;
pub(crate) use self::entry::{Encoded, Entry, Mark};
pub use self::entry::{decode_entry, encode_entry};
use self::fill::{Landed, fill};
#[cfg(all(test, shuttle))]
pub(crate) use self::journal::Journal;
use self::keyspace::Keyspace;
pub(crate) use self::lease::LeaseEvidence;
use self::lease::Owner;
pub(crate) use self::look::{ServerLook, is_of_type};
use self::many::Setting;
pub(crate) use self::notice::Notice;
pub use self::parts::{EntryParts, SlotParts, slot_parts};
pub(crate) use self::raw::ScannedServers;
use self::set::encode;
use super::remembered::Remembered;
use super::{
    About, Beside, Boarded, Evidence, Fill, Filled, Filling, Found, Look, MaybeReady, Miss, Query,
    Renewal, Store, Waiting,
};
use crate::backlog::Buckets;
use crate::codec::Payload;
use crate::driver::{Connection, Operation, Reply, Servers, Trusts};
use crate::error::Error;
use crate::flight::{Flights, Leader, Seat};
use crate::freshness::Age;
use crate::health::Status;
use crate::inspection::{Inspection, StoreState};
use crate::key::{Key, Pattern, on_server};
use crate::missed::MissReason;
use crate::observe::{Event, Observer, spans};
use crate::removal::Removal;

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
        if look.is_fenced() {
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

    /// A call goes on without the server, or without a part of what it asked for.
    fn degrade(&self, query: &Query, error: &Error) {
        let key = &query.key;
        self.observer
            .observe(query.site, Event::Degrade { key, error });
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
        leader: Leader<Evidence>,
        filling: &Filling<'_>,
        ttl: &dyn Fn() -> Option<Duration>,
    ) -> MaybeReady<'a, Filled> {
        let landed = match self.land(query, leader, filling) {
            Ok(landed) => landed,
            Err(ended) => return MaybeReady::Ready(Some(ended)),
        };
        let (ttl, cost) = (ttl(), filling.cost);
        let tags = landed.told.as_ref().map_or(&query.tags, |told| &told.tags);
        let extend = ttl.map(|ttl| self.extend_versions(query, tags, ttl));
        let encoded = landed.encode(query, filling);
        let Landed {
            told,
            evidence,
            mut leader,
        } = landed;
        MaybeReady::Later(Box::pin(async move {
            let filled = match evidence.lease() {
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
