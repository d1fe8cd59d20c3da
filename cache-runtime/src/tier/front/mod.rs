//! The shared tier, with copies of its entries in front, in this process.
//!
//! The server stays the truth: what is loaded, stored and invalidated goes there. A copy is kept of an entry
//! that a call was served by the server, and further calls are served the copy. It ends with its
//! `local_ttl`, with the entry's ttl, and with an invalidation:
//!
//! * *In this process,* an invalidation drops copies after the server has carried it out, and before it
//!   returns.
//! * *In other processes,* the server [tells](Notice) what was invalidated, over the
//!   connection that the copy was read over. A copy is served only for as long as that connection has
//!   lately shown that it hears: see [`Trust`](crate::driver::Trust). So no message that is lost or late
//!   makes it older than half a second.
//!
//! A copy is kept only if nothing of it was invalidated here since before the server was asked. `model/`
//! has the rules, each with what breaks without it.

mod copies;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) use self::copies::Copying;
use self::copies::{Asked, Copies};
use super::local::{Entry, Local, Tie};
use super::shared::{Notice, Shared};
use super::{
    About, Beside, Boarded, Evidence, Fill, Filled, Filling, Found, Held, Look, Mark, MaybeReady,
    Miss, Query, Renewal, Storable, Store, ToCopy, Waiting,
};
use crate::backlog::Buckets;
use crate::clock;
use crate::codec::Payload;
use crate::driver::Trusts;
use crate::error::Error;
use crate::flight::{Leader, Seat};
use crate::freshness::Age;
use crate::health::Status;
use crate::inspection::{Inspection, StoreState};
use crate::key::{Key, Pattern};
use crate::missed::MissReason;
use crate::removal::Removal;
use crate::sabotage::{self, Rule};

/// How often a call asks the server before it keeps nothing. Each time, one of its names was invalidated meanwhile,
/// or the connection had only begun to listen.
const LOOKS: u32 = 4;

#[derive(Debug)]
pub(crate) struct Front {
    copies: Arc<Copies>,
    shared: Shared,
    /// Whether copies are kept though what other processes invalidate is not heard.
    without_hearing: bool,
}

/// Drops copies once the server's entries are invalidated, or that was given up.
struct DropCopies<'a> {
    copies: &'a Copies,
    names: &'a [Key],
}

impl Drop for DropCopies<'_> {
    fn drop(&mut self) {
        if sabotage::keeps(Rule::OwnCopies) {
            self.copies.invalidate(self.names);
        }
    }
}

/// As [`DropCopies`], for all copies.
struct DropAll<'a>(&'a Copies);

impl Drop for DropAll<'_> {
    fn drop(&mut self) {
        self.0.clear();
    }
}

impl Front {
    /// `shared` makes the shared tier, which says what its servers tell.
    pub(crate) fn new(
        copies: Local,
        without_hearing: bool,
        shared: impl FnOnce(Box<dyn Fn(Notice) + Send + Sync>) -> Shared,
    ) -> Self {
        let copies = Arc::new(Copies::new(copies));
        let hearing = copies.clone();
        Self {
            shared: shared(Box::new(move |notice| hearing.hear(notice))),
            copies,
            without_hearing,
        }
    }

    /// The copies, for a hit that is answered at once.
    #[inline]
    pub(super) fn copies(&self) -> Option<&Local> {
        self.copies.in_use()
    }

    /// The entry of a call whose values never leave the process, if it may be served at once.
    pub(super) fn kept_here(&self, query: &Query) -> Option<Entry> {
        self.copies.for_local().find_fresh(query)
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Keeps a copy of what a call was served.
    pub(super) fn keep(&self, query: &Query, copying: Copying, value: &dyn Storable) {
        self.copies.keep(&query.key, copying, value);
    }

    /// Says of an entry that was found whether a copy of it may be kept.
    fn found(&self, asked: Asked, query: &Query, look: Look) -> Look {
        let Look::Hit(Found::Encoded(mut entry)) = look else {
            return look;
        };
        let copying = entry.source.take().and_then(|source| {
            let trusts = match source.trusts {
                Ok(trusts) => trusts,
                Err(_) if self.without_hearing => Trusts::default(),
                Err(deaf) => {
                    if let Some(deaf) = deaf {
                        self.shared.tell_deafness(&deaf);
                    }
                    return None;
                }
            };
            let tags = entry.tags().map(|(tag, _)| Key::from(tag));
            self.copies.copying(asked, query, tags, trusts, source.left)
        });
        Look::Hit(match copying {
            Some(copying) => Found::ToCopy(Box::new(ToCopy {
                entry,
                copying: Some(copying),
            })),
            None => Found::Encoded(entry),
        })
    }

    /// The entry of a call whose values never leave the process, or its place in a load.
    async fn look_here(&self, query: &Query) -> Look {
        let here = self.copies.for_local();
        if let Some(entry) = self.kept_here(query) {
            return Look::Hit(Found::Value(entry));
        }
        let look = self.tied(query, |tie| here.look_and_board(query, Some(tie)));
        if let Some(look) = look.await {
            return look;
        }
        // Unless there is another reason, what other processes invalidate is not heard.
        query.missed.note(MissReason::Unavailable);
        Look::Miss(Miss::Fenced)
    }

    /// Asks the server whether an entry may be kept whose value never leaves the process, and boards with what it
    /// is tied to. `None` if it cannot be kept: what other processes invalidate is not heard, or writers are at
    /// work.
    async fn tied<T>(&self, query: &Query, board: impl Fn(&Tie<'_>) -> Option<T>) -> Option<T> {
        // A moment of the clock by which connections tell since when they listen.
        const PAUSE: Duration = Duration::from_millis(1);
        if query.has_long_name() {
            // What is heard names it otherwise.
            query.missed.note(MissReason::Bypassed);
            return None;
        }
        let (began, until) = (Instant::now(), self.shared.deadline());
        let half = until.saturating_duration_since(began) / 2;
        for _ in 0..LOOKS {
            // A look needs time enough that a server which is well answers it.
            if began.elapsed() > half {
                break;
            }
            let asked = self.copies.asked(query);
            let trusts = self.shared.trusts(query, self.without_hearing, until);
            let trusts = Box::pin(trusts).await?;
            match self.copies.tie(asked, query, &trusts) {
                Some(tie) => {
                    if let Some(boarded) = board(&tie) {
                        return Some(boarded);
                    }
                }
                // A fence that was placed since may not have been heard.
                None => clock::pause(PAUSE).await,
            }
        }
        query.missed.note(MissReason::Fenced);
        None
    }

    fn drop_copies<'a>(&'a self, names: &'a [Key]) -> DropCopies<'a> {
        DropCopies {
            copies: &self.copies,
            names,
        }
    }
}

impl Store for Front {
    fn name(&self) -> &'static str {
        self.shared.name()
    }

    async fn look(
        &self,
        query: &Query,
        undecodable: Option<Mark>,
        asking_since: Option<Instant>,
    ) -> Look {
        if query.is_local {
            return Box::pin(self.look_here(query)).await;
        }
        if query.local_ttl.is_zero() {
            return self.shared.look(query, undecodable, asking_since).await;
        }
        if let Some(copy) = self.copies.find(query) {
            return Look::Hit(Found::Value(copy));
        }
        // Boxed, so that other calls have no room for what it holds.
        Box::pin(async move {
            let asked = self.copies.asked(query);
            let look = self.shared.look(query, undecodable, asking_since).await;
            self.found(asked, query, look)
        })
        .await
    }

    fn board<'a>(
        &'a self,
        query: &'a Query,
        miss: Miss,
        asking_since: Option<Instant>,
    ) -> MaybeReady<'a, Boarded> {
        self.shared.board(query, miss, asking_since)
    }

    fn board_refresh<'a>(&'a self, query: &'a Query) -> MaybeReady<'a, Boarded> {
        if !query.is_local {
            return self.shared.board_refresh(query);
        }
        MaybeReady::Later(Box::pin(async move {
            let here = self.copies.for_local();
            let boarded = self.tied(query, |tie| here.board_for_refresh(query, Some(tie)));
            boarded.await.unwrap_or(Boarded::Unstored)
        }))
    }

    fn board_unstored(&self, key: &Key) -> Option<Seat<Evidence>> {
        self.shared.board_unstored(key)
    }

    fn renew(&self, leader: &Leader<Evidence>, limit: Duration) -> Option<Renewal> {
        self.shared.renew(leader, limit)
    }

    fn fill<'a>(
        &'a self,
        query: &'a Query,
        leader: Leader<Evidence>,
        filling: &Filling<'_>,
        ttl: &dyn Fn() -> Option<Duration>,
    ) -> MaybeReady<'a, Filled> {
        if query.is_local {
            return self.copies.for_local().fill(query, leader, filling, ttl);
        }
        let filled = self.shared.fill(query, leader, filling, ttl);
        if self.copies.in_use().is_none() {
            return filled;
        }
        // It may replace an entry of which there is a copy.
        MaybeReady::Later(Box::pin(async move {
            let _dropped = self.drop_copies(std::slice::from_ref(&query.key));
            filled.await
        }))
    }

    async fn look_many(&self, queries: &[&Query]) -> Vec<Look> {
        let mut looks: Vec<Option<Look>> = Vec::with_capacity(queries.len());
        let (mut asked, mut further) = (Vec::new(), Vec::new());
        for query in queries {
            let is_copied = !query.local_ttl.is_zero();
            let copy = self.copies.find(query).filter(|_| is_copied);
            if copy.is_none() {
                asked.push(is_copied.then(|| self.copies.asked(query)));
                further.push(*query);
            }
            looks.push(copy.map(|copy| Look::Hit(Found::Value(copy))));
        }
        let mut found = Vec::new();
        if !further.is_empty() {
            found = self.shared.look_many(&further).await;
        }
        let found = found.into_iter().zip(asked).zip(further);
        let mut found = found.map(|((look, asked), query)| match asked {
            Some(asked) => self.found(asked, query, look),
            None => look,
        });
        let looks = looks.into_iter();
        looks
            .map(|look| {
                look.or_else(|| found.next())
                    .unwrap_or(Look::Miss(Miss::Unknown))
            })
            .collect()
    }

    async fn board_many(&self, misses: Vec<(&Query, Miss)>) -> Vec<Boarded> {
        self.shared.board_many(misses).await
    }

    fn renew_many(&self, leaders: &[Leader<Evidence>], limit: Duration) -> Option<Renewal> {
        self.shared.renew_many(leaders, limit)
    }

    fn fill_many<'a>(&'a self, fills: Vec<Fill<'a>>) -> MaybeReady<'a, Vec<Filled>> {
        if self.copies.in_use().is_none() {
            return self.shared.fill_many(fills);
        }
        // They may replace entries of which there are copies.
        let keys: Vec<Key> = fills.iter().map(|fill| fill.query.key.clone()).collect();
        let filled = self.shared.fill_many(fills);
        MaybeReady::Later(Box::pin(async move {
            let _dropped = self.drop_copies(&keys);
            filled.await
        }))
    }

    async fn get(&self, key: &Key) -> Result<Option<Found>, Error> {
        self.shared.get(key).await
    }

    async fn remaining(&self, key: &Key, found: &Found) -> Result<Option<Duration>, Error> {
        match found {
            Found::Value(_) => self.copies.local.remaining(key, found).await,
            Found::Encoded(_) | Found::ToCopy(_) => self.shared.remaining(key, found).await,
        }
    }

    /// A copy is fresh for as long as it is kept.
    fn age(&self, query: &Query, found: &Found) -> Option<Age> {
        if query.is_local {
            return self.copies.for_local().age(query, found);
        }
        self.shared.age(query, found)
    }

    fn board_beside<'a>(&'a self, query: &'a Query, found: &'a Found) -> MaybeReady<'a, Beside> {
        if query.is_local {
            return self.copies.for_local().board_beside(query, found);
        }
        self.shared.board_beside(query, found)
    }

    fn find_old<'a>(&'a self, query: &'a Query) -> MaybeReady<'a, Option<Found>> {
        if query.is_local {
            return self.copies.for_local().find_old(query);
        }
        self.shared.find_old(query)
    }

    fn note_failure(&self, evidence: &Evidence, pause: Duration, excused: bool) -> bool {
        match evidence {
            Evidence::Local(_) => self.copies.local.note_failure(evidence, pause, excused),
            Evidence::Shared(_) => self.shared.note_failure(evidence, pause, excused),
        }
    }

    fn is_under_way<'a>(&'a self, query: &'a Query, miss: &'a Miss) -> MaybeReady<'a, bool> {
        self.shared.is_under_way(query, miss)
    }

    async fn find_at_any_age(&self, key: &Key) -> Result<Option<(Found, About)>, Error> {
        self.shared.find_at_any_age(key).await
    }

    async fn inspect(&self, key: &Key) -> Result<Inspection, Error> {
        self.shared.inspect(key).await
    }

    async fn set_encoded(
        &self,
        key: &Key,
        payload: Payload,
        tags: &[Key],
        ttl: Duration,
    ) -> Result<Filled, Error> {
        let _dropped = self.drop_copies(std::slice::from_ref(key));
        self.shared.set_encoded(key, payload, tags, ttl).await
    }

    fn servers(&self) -> StoreState {
        self.shared.servers()
    }

    async fn expire(&self, keys: &[Key]) -> Result<(), Error> {
        let _dropped = self.drop_copies(keys);
        self.shared.expire(keys).await
    }

    async fn set(
        &self,
        query: &Query,
        filling: &Filling<'_>,
        ttl: Duration,
    ) -> Result<Filled, Error> {
        if query.is_local {
            let here = self.copies.for_local();
            let stored = self.tied(query, |tie| {
                here.store(query, filling.value, ttl, Some(tie))
            });
            return Ok(stored.await.unwrap_or(Filled::Unstorable));
        }
        let _dropped = self.drop_copies(std::slice::from_ref(&query.key));
        self.shared.set(query, filling, ttl).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Found>>, Error> {
        self.shared.get_many(keys).await
    }

    async fn set_many(
        &self,
        settings: &[(Query, Filling<'_>, Duration)],
    ) -> Result<Vec<Filled>, Error> {
        let keys: Vec<Key> = settings
            .iter()
            .map(|(query, ..)| query.key.clone())
            .collect();
        let _dropped = self.drop_copies(&keys);
        self.shared.set_many(settings).await
    }

    async fn delete_many(&self, keys: &[Key]) -> Result<Vec<bool>, Error> {
        let _dropped = self.drop_copies(keys);
        self.shared.delete_many(keys).await
    }

    async fn delete(&self, key: &Key) -> Result<bool, Error> {
        let _dropped = self.drop_copies(std::slice::from_ref(key));
        self.shared.delete(key).await
    }

    async fn invalidate(&self, names: &[Key]) -> Result<(), Error> {
        let _dropped = self.drop_copies(names);
        self.shared.invalidate(names).await
    }

    fn invalidate_now(&self, names: &[Key]) -> bool {
        self.shared.invalidate_now(names)
    }

    fn invalidate_later(&self, names: &[Key]) {
        let _dropped = self.drop_copies(names);
        self.shared.invalidate_later(names);
    }

    fn invalidate_buckets_later(&self, buckets: Buckets) {
        let _dropped = DropAll(&self.copies);
        self.shared.invalidate_buckets_later(buckets);
    }

    async fn invalidate_matching(
        &self,
        pattern: &Pattern,
        removal: &Removal<'_>,
    ) -> Result<(), Error> {
        let _dropped = DropAll(&self.copies);
        self.shared.invalidate_matching(pattern, removal).await
    }

    fn invalidate_matching_later(&self, pattern: &Pattern) {
        let _dropped = DropAll(&self.copies);
        self.shared.invalidate_matching_later(pattern);
    }

    async fn clear(&self) -> Result<(), Error> {
        let _dropped = DropAll(&self.copies);
        self.shared.clear().await
    }

    async fn fence(&self, names: &[Key], writer: u64, length: Duration) -> Result<(), Error> {
        let _dropped = self.drop_copies(names);
        self.shared.fence(names, writer, length).await
    }

    async fn unfence(&self, names: &[Key], writer: u64) -> Result<(), Error> {
        self.shared.unfence(names, writer).await
    }

    fn unfence_now(&self, names: &[Key], writer: u64) -> bool {
        self.shared.unfence_now(names, writer)
    }

    async fn ping(&self) -> Result<(), Error> {
        self.shared.ping().await
    }

    async fn flush(&self, limit: Duration) -> Result<(), Error> {
        self.shared.flush(limit).await
    }

    fn status(&self) -> Status {
        self.shared.status()
    }

    fn waiting(&self) -> Waiting {
        self.shared.waiting()
    }

    fn held(&self) -> Held {
        self.copies.local.held()
    }
}
