//! What `#[cached]` expands to with `each`: one call for several keys.
//!
//! ```text
//! next ──> look at all keys ──> hits
//!            └────> board each ──> lead ──> load, once for all of them ──> fill
//!                     └──────────> wait, once no load of this call is left
//! ```
//!
//! [`BatchCall::next`] says for which elements the body is to run, and [`BatchCall::load`] runs it. Then
//! the call waits for what others load. So of two calls that each wait for a key of the other, both have
//! loaded their own, and neither waits for ever. A wait may end without a value: another caller has failed, or
//! does not move. Then the body runs once more, for that key.

mod fresh;
mod load;
mod rows;

use std::collections::HashMap;
use std::future::pending;
use std::marker::PhantomData;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use self::load::Load;
pub use self::rows::{Asked, Bare, Pairs, batch_shape, one};
use self::rows::{BatchShape, KnownOf, Ready, Rows};
use super::cached::value_type;
use super::compare::{self, Compare, Values};
use super::invalidate::CollectedNames;
use super::load::{BeforeLoad, Loaded as LoadedValue};
use super::of_value::WithTags;
use super::order::{self, BatchBegin};
use super::receiver::Receiver;
use super::request::{Keep, Keeping, Request};
use super::scope;
use super::shape::Shape;
use super::site::CallSite;
use super::transaction::GivenTransaction;
use crate::codec::{Codec, Reason};
use crate::context;
use crate::core::Core;
use crate::error::Error;
use crate::flight::{Leader, Seat, Waiter, together};
use crate::join;
use crate::key::Key;
use crate::observe::NotFilledReason;
use crate::refreshes::Ticket;
use crate::tier::{Boarded, Evidence, Fill, Filled, Filling, Look, Miss, Query, Store as _};
use crate::value::{CacheValue, Outcome, SharedError, outcome};

/// How often a call looks at its open keys together. Then it looks at each of them alone.
const MOST_LOOKS: u32 = 4;

/// A call of a `#[cached]` function with `each`. `B` is the shape of what it returns, `R` how that has
/// rows, `S` the shape of a function for one element, and `T` the type of the elements.
pub struct BatchCall<B, R, S, T>
where
    B: BatchShape<R, T>,
    R: Rows<B::Collection, T>,
    S: Shape,
{
    site: &'static CallSite,
    core: Arc<Core>,
    receiver: Receiver,
    ttl: Option<Duration>,
    codec: Option<Codec>,
    compare: Compare,
    in_transaction: bool,
    /// Whether values tell tags.
    learns_tags: bool,
    stage: Stage,
    /// How often it has looked at all of its open keys.
    looks: u32,
    /// One for each element: no two have the same key.
    calls: Vec<OneOf<S::Value, T>>,
    places: HashMap<Key, usize>,
    /// Rows that no key is known to have alone.
    others: Vec<R::Row>,
    /// The error with which another caller's load failed.
    failed: Option<SharedError>,
    shapes: Shapes<B, R, S>,
}

type Shapes<B, R, S> = PhantomData<fn() -> (B, R, S)>;

/// How far a call is.
#[derive(PartialEq)]
enum Stage {
    NotBegun,
    Begun,
    /// It leaves the cache alone.
    Bypass,
}

/// What is known of one element.
struct OneOf<V, T> {
    element: T,
    request: Request,
    state: State<V>,
    /// The right to refresh it, while this call does.
    ticket: Option<Ticket>,
}

enum State<V> {
    /// Nothing: the call looks.
    Open,
    /// This call loads it.
    Leads(Leader<Evidence>),
    /// This call loads it, and stores nothing.
    Alone(NotFilledReason<'static>),
    /// Another caller loads it, and this call has boarded its load.
    Boarded(Waiter<Evidence>),
    /// This call goes on as a call for one key does: another process loads it, or its entry could not be
    /// decoded.
    Alike(GoOn),
    /// The load yielded this.
    Known(Outcome<V>),
    /// The load yielded several rows for it.
    Several,
}

/// What a load yielded for each key; `None` if that were several values.
type Loaded<V> = HashMap<usize, Option<Outcome<V>>>;

/// What a call for one key returns, as far as it needs no load.
type Known<S> = Result<Option<<S as Shape>::Value>, SharedError>;

/// Where a call for one key goes on.
enum GoOn {
    /// It looks.
    Look,
    /// After this look.
    After(Look),
}

impl<B, R, S, T> BatchCall<B, R, S, T>
where
    B: BatchShape<R, T>,
    R: Rows<B::Collection, T, Value = S::Value>,
    S: Shape<Return = <B::One as Shape>::Return>,
{
    /// A call without elements.
    pub fn start(
        site: &'static CallSite,
        core: &Arc<Core>,
        _ready: Ready<B, R, T>,
        _one: S,
        receiver: Receiver,
    ) -> Self {
        Self {
            site,
            core: core.clone(),
            receiver,
            ttl: None,
            codec: None,
            compare: compare::not_at_all,
            in_transaction: false,
            learns_tags: false,
            stage: Stage::NotBegun,
            looks: 0,
            calls: Vec::new(),
            places: HashMap::new(),
            others: Vec::new(),
            failed: None,
            shapes: PhantomData,
        }
    }

    /// Sets how long this call's values are cached.
    #[must_use]
    pub fn ttl(mut self, ttl: impl FnOnce() -> Duration) -> Self {
        self.ttl = Some(ttl());
        self
    }

    /// Sets how this call's values are written on a server.
    #[must_use]
    pub fn codec(mut self, codec: impl FnOnce() -> Codec) -> Self {
        self.codec = Some(codec());
        self
    }

    /// Leaves the cache alone if `condition` is false.
    #[must_use]
    pub fn only_if(mut self, condition: bool) -> Self {
        if !condition {
            self.stage = Stage::Bypass;
        }
        self
    }

    /// Says which transactions are among the arguments.
    #[must_use]
    pub fn given(mut self, given: GivenTransaction) -> Self {
        self.in_transaction = given != GivenTransaction::None;
        self
    }

    /// Says that values tell further tags.
    #[must_use]
    pub fn learning_tags(mut self) -> Self {
        self.learns_tags = true;
        self
    }

    /// Asks for the type of its values.
    pub fn values(&self) -> Values<S::Value> {
        Values::NEW
    }

    /// Sets how a value is compared with what would come back.
    #[must_use]
    pub fn compared(mut self, compare: Compare) -> Self {
        self.compare = compare;
        self
    }

    /// Adds the elements. `names` collects the key of each, and then its tags. Of elements with one key,
    /// the first counts.
    #[must_use]
    pub fn with(
        mut self,
        elements: Vec<T>,
        mut names: impl FnMut(&T, &mut CollectedNames),
    ) -> Self {
        self.calls.reserve(elements.len());
        self.places.reserve(elements.len());
        for element in elements {
            let mut collected = CollectedNames::new();
            names(&element, &mut collected);
            let mut collected = collected.into_keys();
            let key = collected.next().unwrap_or_else(|| Key::from(""));
            let place = self.calls.len();
            if *self.places.entry(key.clone()).or_insert(place) != place {
                continue;
            }
            let request = self.request(key, collected.collect());
            self.calls.push(OneOf {
                element,
                request,
                state: State::Open,
                ticket: None,
            });
        }
        self
    }

    fn request(&self, key: Key, tags: Vec<Key>) -> Request {
        let mut request = Request::at_site(self.site, &self.core, key, tags, self.receiver);
        request.query.learns_tags = self.learns_tags;
        request.query.value_type = value_type::<S>(&self.core, self.receiver);
        if let Some(ttl) = self.ttl {
            request.query.ttl = ttl;
            request.defaults.ttl = false;
        }
        request.codec = self.codec;
        request.compare = self.compare;
        request.in_transaction = self.in_transaction;
        request
    }
}

impl<B, R, S, T> BatchCall<B, R, S, T>
where
    B: BatchShape<R, T>,
    R: Rows<B::Collection, T, Value = S::Value>,
    S: Shape<Return = <B::One as Shape>::Return, Value: CacheValue>,
    T: Clone,
{
    /// The elements that the body is to load; `None` once nothing is left to load.
    pub async fn next(&mut self) -> Option<Vec<T>> {
        if self.stage == Stage::NotBegun {
            self.stage = Stage::Begun;
            self.begin().await;
        }
        while self.failed.is_none() {
            let missing = self.missing();
            if !missing.is_empty() {
                return Some(missing);
            }
            // This call leads nothing now, so no caller waits for it while it looks or waits.
            if self
                .calls
                .iter()
                .any(|call| matches!(call.state, State::Open))
            {
                self.look().await;
            } else if self.calls.iter().all(|call| call.state.is_known()) {
                return None;
            } else {
                self.wait().await;
            }
        }
        None
    }

    /// What the call does at its first poll.
    async fn begin(&mut self) {
        let begin = if context::is_open() {
            order::begin_batch()
        } else {
            BatchBegin::On
        };
        match begin {
            BatchBegin::On => {}
            BatchBegin::Refresh => {
                for call in &mut self.calls {
                    call.request.is_refresh = true;
                }
            }
            BatchBegin::Bypass => {
                self.stage = Stage::Bypass;
                return;
            }
            BatchBegin::Stay => pending().await,
        }
        for place in 0..self.calls.len() {
            match self.calls[place].request.reason_to_bypass::<S::Value>() {
                None => {}
                // It is about this name only.
                Some(why @ NotFilledReason::Unstorable) => {
                    self.calls[place].state = State::Alone(why);
                }
                Some(why) => {
                    for call in &mut self.calls {
                        call.state = State::Alone(why);
                    }
                    return;
                }
            }
        }
        self.look().await;
    }

    /// The elements that this call loads, or all of a call that leaves the cache alone.
    fn missing(&self) -> Vec<T> {
        let is_bypassed = self.stage == Stage::Bypass;
        let is_missing = |call: &&OneOf<S::Value, T>| is_bypassed || call.state.is_loaded();
        let missing = self.calls.iter().filter(is_missing);
        missing.map(|call| call.element.clone()).collect()
    }

    /// Looks at the keys of which nothing is known, and boards a load of each that has no entry.
    async fn look(&mut self) {
        let calls = &self.calls;
        let open = calls.iter().enumerate();
        let mut open: Vec<usize> = open
            .filter(|(_, call)| matches!(call.state, State::Open))
            .map(|(place, _)| place)
            .collect();
        let Some(first) = open.first() else {
            return;
        };
        let is_refresh = calls[*first].request.is_refresh;
        self.looks += 1;
        if !is_refresh {
            self.serve_failed(&open).await;
            let calls = &self.calls;
            open.retain(|place| matches!(calls[*place].state, State::Open));
        }
        let core = self.core.clone();
        let tier = &core.tier;
        let calls = &mut self.calls;
        if is_refresh {
            let boarding = open.iter().map(|place| {
                let query = &calls[*place].request.query;
                tier.board_refresh(query)
            });
            let boarded = together::gather(boarding, Boarded::leader).await;
            for (place, boarded) in open.into_iter().zip(boarded) {
                calls[place].board_refresh(boarded);
            }
            return;
        }
        if self.looks > MOST_LOOKS {
            for place in open {
                calls[place].state = State::Alike(GoOn::Look);
            }
            return;
        }
        let queries: Vec<&Query> = open
            .iter()
            .map(|place| &calls[*place].request.query)
            .collect();
        let looks = tier.look_many(&queries).await;
        let refreshes = self.revalidate(&open, &looks).await;
        let calls = &mut self.calls;
        let mut misses = Vec::new();
        for ((place, look), refresh) in open.into_iter().zip(looks).zip(refreshes) {
            if let Some((leader, ticket)) = refresh {
                calls[place].state = State::Leads(leader);
                calls[place].ticket = Some(ticket);
                continue;
            }
            if let Some(miss) = calls[place].look_at::<S>(look) {
                misses.push((place, miss));
            }
        }
        if misses.is_empty() {
            return;
        }
        let mut places = Vec::with_capacity(misses.len());
        let mut asked = Vec::with_capacity(misses.len());
        for (place, miss) in misses {
            places.push(place);
            asked.push((&calls[place].request.query, miss));
        }
        let boarded = tier.board_many(asked).await;
        for (place, boarded) in places.into_iter().zip(boarded) {
            calls[place].board(boarded);
        }
    }

    /// Waits for what others load, until this call is to load something itself, or nothing is left to
    /// wait for.
    async fn wait(&mut self) {
        let mut places = Vec::new();
        let mut all = Vec::new();
        for (place, call) in self.calls.iter_mut().enumerate() {
            if let Some(go_on) = call.state.take_wait() {
                places.push(place);
                all.push(go_on);
            }
        }
        let mut waits = Vec::with_capacity(places.len());
        for (place, go_on) in places.iter().zip(all) {
            waits.push(self.calls[*place].request.known::<S>(go_on));
        }
        let is_end = |before: &BeforeLoad<Known<S>>| !matches!(before, BeforeLoad::Return(Ok(_)));
        for (index, before) in join::up_to(waits, is_end).await {
            self.calls[places[index]].state = match before {
                BeforeLoad::Return(Ok(value)) => State::known(value),
                BeforeLoad::Return(Err(error)) => {
                    match Box::pin(self.known_old(places[index])).await {
                        Some(value) => self.calls[places[index]].state = State::known(value),
                        None => self.failed = Some(error),
                    }
                    continue;
                }
                BeforeLoad::Lead(leader) => State::Leads(leader),
                BeforeLoad::Alone => State::Alone(NotFilledReason::Unstorable),
            };
        }
    }

    /// Runs the body for the elements that are missing, and stores what it yields. Returns what the call
    /// returns, if the body fails or the call leaves the cache alone.
    ///
    /// `names` collects the key of a row. As in other calls, no error is in scope while anything is
    /// awaited: it need not be `Send`.
    pub async fn load<K, N, F>(&mut self, keep: K, names: N, body: F) -> Option<B::Return>
    where
        K: Fn(&S::Value) -> Keep,
        N: Fn(&R::Row, &mut CollectedNames),
        F: Future<Output = B::Return>,
    {
        self.load_keeping(keep, names, pin!(body)).await
    }

    /// As [`load`](Self::load), where values tell tags.
    pub async fn load_telling<K, W, N, F>(
        &mut self,
        keep: K,
        tags: W,
        names: N,
        body: F,
    ) -> Option<B::Return>
    where
        K: Fn(&S::Value) -> Keep,
        W: Fn(&S::Value) -> Vec<Key>,
        N: Fn(&R::Row, &mut CollectedNames),
        F: Future<Output = B::Return>,
    {
        let keep = WithTags { keep, tags };
        self.load_keeping(keep, names, pin!(body)).await
    }

    async fn load_keeping<K, N, F>(
        &mut self,
        keep: K,
        names: N,
        body: Pin<&mut F>,
    ) -> Option<B::Return>
    where
        K: Keeping<S::Value>,
        N: Fn(&R::Row, &mut CollectedNames),
        F: Future<Output = B::Return>,
    {
        if self.stage == Stage::Bypass {
            return Some(body.await);
        }
        let (load, loaded) = {
            let (load, returned) = self.run_body(body).await?;
            let loaded = match B::open(returned) {
                Ok(collection) => self.sort(&load, R::rows(collection), names),
                Err(failed) => {
                    let requests = load.places().map(|place| &self.calls[place].request);
                    requests.for_each(Request::load_of_several_failed);
                    load.ended(true);
                    self.core
                        .observer
                        .failed_after(Some(self.site), load.cost());
                    load.fail(S::share_error(&failed).as_ref());
                    return B::with_error(failed);
                }
            };
            (load, loaded)
        };
        self.fill(load, loaded, keep).await;
        None
    }

    /// Runs the body for what this call loads, and returns what the body returned. `None` if other attempts
    /// have landed for each key: then the values are theirs.
    async fn run_body<F>(&mut self, body: Pin<&mut F>) -> Option<(Load, B::Return)>
    where
        F: Future<Output = B::Return>,
    {
        let mut load = self.take_load();
        let mut is_refresh = false;
        for place in load.places() {
            let OneOf {
                request, ticket, ..
            } = &self.calls[place];
            if ticket.is_some() {
                request.observe_refresh();
            }
            is_refresh |= ticket.is_some() || request.is_refresh;
            request.load_begins();
        }
        let is_usable = |landed: &_| outcome::<S::Value>(landed).is_some();
        let run = load.run(&self.core, self.site, is_refresh, body, is_usable);
        let Some(returned) = run.await else {
            self.share_landed(load);
            return None;
        };
        Some((load, returned))
    }

    /// The loads that this call leads, and those that it makes for itself.
    fn take_load(&mut self) -> Load {
        let mut load = Load::default();
        for (place, call) in self.calls.iter_mut().enumerate() {
            match mem::replace(&mut call.state, State::Open) {
                State::Leads(leader) => load.add(place, leader),
                State::Alone(why) => load.alone.push((place, why)),
                other => call.state = other,
            }
        }
        load
    }

    /// Takes what other attempts have landed with, for all keys of a load.
    fn share_landed(&mut self, load: Load) {
        for (place, leader) in load.led() {
            let call = &mut self.calls[place];
            let landed = leader.landed();
            let shared = landed.and_then(|landed| call.request.share_landed::<KnownOf<S>>(&landed));
            if let Some(Ok(value)) = shared {
                call.state = State::known(value);
            }
        }
    }

    /// What rows say of each key that was loaded; `None` if several rows are of one key. Those are returned
    /// as they are, and so are rows of keys that were not asked for. Rows of keys that others load are left
    /// out.
    fn sort<N>(&mut self, load: &Load, rows: Vec<R::Row>, names: N) -> Loaded<S::Value>
    where
        N: Fn(&R::Row, &mut CollectedNames),
    {
        let mut found: HashMap<usize, Vec<R::Row>> = HashMap::with_capacity(rows.len());
        let mut collected = CollectedNames::new();
        for row in rows {
            names(&row, &mut collected);
            let key = collected.take_last();
            match key.and_then(|key| self.places.get(&key)) {
                None => self.others.push(row),
                Some(place) => found.entry(*place).or_default().push(row),
            }
        }
        let mut loaded = HashMap::with_capacity(load.len());
        for place in load.places() {
            let mut rows = found.remove(&place).unwrap_or_default();
            let outcome = match (rows.pop(), rows.is_empty()) {
                (None, _) => Some(Outcome::None),
                (Some(row), true) => Some(Outcome::Value(R::value(row))),
                (Some(row), false) => {
                    rows.push(row);
                    self.others.append(&mut rows);
                    None
                }
            };
            loaded.insert(place, outcome);
        }
        loaded
    }

    /// Stores what was loaded, and keeps it for this call.
    async fn fill<K>(&mut self, load: Load, mut loaded: Loaded<S::Value>, keep: K)
    where
        K: Keeping<S::Value>,
    {
        let cost = load.cost();
        load.ended(false);
        self.core.observer.loaded(Some(self.site), cost, load.len());
        if let Some(took) = load.pending_for() {
            self.site.note_load(took);
        }
        for (place, why) in &load.alone {
            let call = &mut self.calls[*place];
            call.request.not_filled(*why);
            call.keep(loaded.remove(place).flatten());
        }
        // The call may have begun outside of the scope in which it is polled now.
        let is_uncommitted = scope::is_uncommitted();
        let mut kept = Vec::with_capacity(loaded.len());
        let mut leaders = Vec::with_capacity(loaded.len());
        for (place, leader) in load.led() {
            match loaded.remove(&place).flatten() {
                Some(outcome) if !is_uncommitted => {
                    self.calls[place].request.note_success();
                    kept.push((place, outcome));
                    leaders.push(leader);
                }
                outcome => {
                    leader.fail(None);
                    self.calls[place].observe_not_stored(outcome.is_some());
                    self.calls[place].keep(outcome);
                }
            }
        }
        let (told, filled) = {
            let mut told = Vec::with_capacity(kept.len());
            let mut values = Vec::with_capacity(kept.len());
            for (place, outcome) in &kept {
                told.push(self.calls[*place].request.told(outcome, &keep));
                values.push(LoadedValue::<S>::new(outcome, self.compare));
            }
            let mut fills = Vec::with_capacity(kept.len());
            for (at, leader) in leaders.into_iter().enumerate() {
                let (place, outcome) = &kept[at];
                let request = &self.calls[*place].request;
                let may_be_stored = leader.evidence().is_some() && told[at].error.is_none();
                fills.push(Fill {
                    query: &request.query,
                    ttl: may_be_stored
                        .then(|| request.lifetime(outcome, &keep))
                        .flatten(),
                    leader,
                    filling: Filling {
                        value: &values[at],
                        tags: &told[at].tags,
                        cost,
                        codec: request.codec(),
                        is_checked: self.core.settings.check_values,
                    },
                });
            }
            let filled = self.core.tier.fill_many(fills).await;
            (told, filled)
        };
        for (((place, outcome), told), filled) in kept.into_iter().zip(told).zip(filled) {
            let call = &mut self.calls[place];
            let filled = told.of(filled);
            call.request.observe_filled(&filled);
            if call.ticket.is_some() && matches!(filled, Filled::Overtaken) {
                call.request.observe_refresh_discarded();
            }
            call.keep(Some(outcome));
        }
    }

    /// What the call returns: the rows of all elements that have a value, in the elements' order, and then
    /// those of none.
    pub fn finish(self) -> B::Return {
        if let Some(error) = self.failed
            && let Some(returned) = S::from_error(&error).and_then(B::with_error)
        {
            return returned;
        }
        let mut rows = Vec::with_capacity(self.calls.len());
        for call in self.calls {
            if let State::Known(Outcome::Value(value)) = call.state {
                rows.push(R::row(call.element, value));
            }
        }
        rows.extend(self.others);
        B::with(R::collect(rows))
    }
}

impl<V: CacheValue, T> OneOf<V, T> {
    /// Serves a hit. Returns a miss that a load is to be boarded for.
    fn look_at<S: Shape<Value = V>>(&mut self, look: Look) -> Option<Miss> {
        match look {
            Look::Hit(mut found) => {
                self.state = match self.request.serve::<KnownOf<S>>(&mut found, None) {
                    Ok(Ok(value)) => State::known(value),
                    // It could not be decoded. A call for one key says so, and replaces it.
                    Ok(Err(_)) | Err(_) => State::Alike(GoOn::After(Look::Hit(found))),
                };
                None
            }
            Look::Lead(leader) => {
                self.state = State::Leads(leader);
                None
            }
            Look::Miss(miss) => Some(miss),
        }
    }

    fn board(&mut self, boarded: Boarded) {
        self.state = match boarded {
            Boarded::Lead(leader) => State::Leads(leader),
            Boarded::Wait(waiter) => State::Boarded(waiter),
            // A watch that is not polled would hold its followers up: it begins once nothing is loaded.
            // An old entry is served as a call for one key is.
            Boarded::Watch(_) | Boarded::Old(_) => State::Alike(GoOn::Look),
            Boarded::Unstored => match self
                .request
                .core
                .tier
                .board_unstored(&self.request.query.key)
            {
                Some(Seat::Lead(leader)) => State::Leads(leader),
                Some(Seat::Wait(waiter)) => State::Boarded(waiter),
                None => State::Alone(NotFilledReason::Unstorable),
            },
            Boarded::Alone => State::Alone(NotFilledReason::Unstorable),
            Boarded::LookAgain => State::Open,
        };
    }

    /// As [`board`](Self::board), for a call that loads whatever is stored. What others load, which must
    /// begin later, it waits for as a call for one key does.
    fn board_refresh(&mut self, boarded: Boarded) {
        match boarded {
            Boarded::Wait(_) | Boarded::Watch(_) | Boarded::LookAgain => {
                self.state = State::Alike(GoOn::Look);
            }
            boarded => self.board(boarded),
        }
    }

    /// Keeps what was loaded; `None` if the load has several rows for the key.
    fn keep(&mut self, outcome: Option<Outcome<V>>) {
        self.state = outcome.map_or(State::Several, State::Known);
    }

    /// Says that nothing is stored, though a value was loaded: within a transaction, or since there are
    /// several.
    fn observe_not_stored(&self, is_one: bool) {
        if is_one {
            self.request.not_filled(NotFilledReason::Uncommitted);
            return;
        }
        let reason = "the function returned several values for it; return each element once";
        let key = self.request.query.key.as_str();
        let error = Error::unstorable(key, &Reason::Other(reason.to_owned()));
        self.request.not_filled(NotFilledReason::Failed(&error));
    }
}

impl<V> State<V> {
    fn known(value: Option<V>) -> Self {
        Self::Known(value.map_or(Outcome::None, Outcome::Value))
    }

    fn is_known(&self) -> bool {
        matches!(self, Self::Known(_) | Self::Several)
    }

    /// Whether this call loads it.
    fn is_loaded(&self) -> bool {
        matches!(self, Self::Leads(_) | Self::Alone(_))
    }

    /// Where a call for one key would go on to wait for it; `None` if this call does not wait for it.
    fn take_wait(&mut self) -> Option<GoOn> {
        match mem::replace(self, Self::Open) {
            Self::Boarded(waiter) => Some(GoOn::After(Look::Miss(Miss::Boarded(waiter)))),
            Self::Alike(go_on) => Some(go_on),
            other => {
                *self = other;
                None
            }
        }
    }
}

impl Request {
    /// Does what a call for one key does, up to its load.
    async fn known<S: Shape<Value: CacheValue>>(&self, go_on: GoOn) -> BeforeLoad<Known<S>> {
        if self.is_refresh {
            return self.before_refresh::<KnownOf<S>>().await;
        }
        let mut look = match go_on {
            GoOn::After(look) => look,
            GoOn::Look => self.core.tier.look(&self.query, None, None).await,
        };
        self.before_load::<KnownOf<S>>(&mut look).await
    }
}
