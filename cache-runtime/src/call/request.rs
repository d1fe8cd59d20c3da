//! One call: what it asks of the store, what is set for it, and what its observer is told.

use std::any;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::compare::{self, Compare};
use super::receiver::Receiver;
use super::scope;
use super::site::CallSite;
use crate::clock;
use crate::codec::Codec;
use crate::core::Core;
use crate::error::Error;
use crate::flight::Patience;
use crate::freshness::State;
use crate::key::Key;
use crate::missed::MissReason;
use crate::observe::{Event, NotFilledReason, StaleReason};
use crate::refreshes::{Ticket, Why};
use crate::sabotage::{self, Rule};
use crate::tier::remembered;
use crate::tier::{Evidence, Filled, Found, Query, Store as _};
use crate::value::Outcome;

/// Where nothing else is set, callers wait for a load that is not woken for as long as this, or for
/// so many times as long as the loads of its function usually take, if that is longer.
const LEAST_HEDGE: Duration = Duration::from_secs(2);
const USUAL_LOADS: u32 = 4;

/// A call, with all that it needs once the body has taken the arguments.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) core: Arc<Core>,
    pub(crate) query: Query,
    /// How its value is written on a server; without it, as the cache says.
    pub(crate) codec: Option<Codec>,
    /// How its value is compared with what would come back.
    pub(crate) compare: Compare,
    pub(crate) receiver: Receiver,
    /// Whether a transaction is among its arguments.
    pub(crate) in_transaction: bool,
    /// Whether it loads, whatever is stored.
    pub(crate) is_refresh: bool,
    /// Whether it waits for another caller's load.
    pub(crate) is_waiting: AtomicBool,
    pub(crate) defaults: Defaults,
}

/// What a call does not say.
#[derive(Debug)]
pub(crate) struct Defaults {
    /// The cache, which the first poll decides: the call began before that.
    pub(crate) cache: bool,
    /// The ttl, which is its cache's.
    pub(crate) ttl: bool,
}

/// How long one value is cached.
#[derive(Debug, Clone, Copy)]
pub enum Keep {
    /// As long as the call says.
    Default,
    /// This long.
    For(Duration),
    /// Not at all.
    Not,
}

/// What a value itself decides: how long it is cached, and which tags its entry has besides those that
/// are known before the load.
pub(crate) trait Keeping<V> {
    /// How long it is cached.
    fn keep(&self, value: &V) -> Keep;

    /// Its tags: sorted, each of them once.
    fn tags(&self, _value: &V) -> Vec<Key> {
        Vec::new()
    }
}

impl<V, F: Fn(&V) -> Keep> Keeping<V> for F {
    #[inline]
    fn keep(&self, value: &V) -> Keep {
        self(value)
    }
}

impl Request {
    /// A call that is not of a function, and whose values are not compared with what would come back.
    #[inline]
    pub(crate) fn new(core: Arc<Core>, query: Query) -> Self {
        Self {
            core,
            query,
            codec: None,
            compare: compare::not_at_all,
            receiver: Receiver::UNASKED,
            in_transaction: false,
            is_refresh: false,
            is_waiting: AtomicBool::new(false),
            defaults: Defaults {
                cache: false,
                ttl: false,
            },
        }
    }

    /// A call of a function, as far as its site and its cache say what it asks for.
    #[inline]
    pub(super) fn at_site(
        site: &'static CallSite,
        core: &Arc<Core>,
        key: Key,
        tags: Vec<Key>,
        receiver: Receiver,
    ) -> Self {
        let settings = &core.settings;
        let query = Query {
            schema: site.schema,
            local_ttl: site.local_ttl.unwrap_or(settings.local_ttl),
            is_local: site.is_local,
            none_ttl: site.none_ttl,
            fresh: site.fresh,
            site: Some(site),
            ..Query::by_hand(key, tags, site.ttl.unwrap_or(settings.default_ttl))
        };
        Self {
            receiver,
            defaults: Defaults {
                cache: false,
                ttl: site.ttl.is_none(),
            },
            ..Self::new(core.clone(), query)
        }
    }

    /// Has the call use another cache than the one in which it began.
    pub(super) fn move_to(&mut self, core: Arc<Core>) {
        if self.defaults.ttl {
            self.query.ttl = core.settings.default_ttl;
        }
        if self.query.site.is_some_and(|site| site.local_ttl.is_none()) {
            self.query.local_ttl = core.settings.local_ttl;
        }
        self.core = core;
    }

    /// Why this call leaves the cache alone, if it does.
    pub(super) fn reason_to_bypass<V: 'static>(&self) -> Option<NotFilledReason<'static>> {
        // What is loaded here may not be committed yet, so it is neither stored nor shared.
        if scope::is_uncommitted() {
            return Some(NotFilledReason::Uncommitted);
        }
        if self.in_transaction && sabotage::keeps(Rule::Uncommitted) {
            if let Some(site) = self.query.site {
                self.core.observer.outside_of_commit(&site.function);
            }
            return Some(NotFilledReason::Uncommitted);
        }
        let names = || self.query.tags.iter().chain([&self.query.key]);
        if let Err(error) = names().try_for_each(Key::check) {
            self.degrade(&error);
            return Some(NotFilledReason::Unstorable);
        }
        let (this, first) = self.other_type::<V>()?;
        self.tell_other_type(this, Some(first));
        Some(NotFilledReason::OtherType)
    }

    /// The type of this call and that of its site's first call, if they differ and the key names none:
    /// of the value, or of the receiver.
    pub(super) fn other_type<V: 'static>(&self) -> Option<(&'static str, &'static str)> {
        let site = self
            .query
            .site
            .filter(|_| sabotage::keeps(Rule::FirstType))?;
        if let Some(first) = site.other_type::<V>() {
            return Some((any::type_name::<V>(), first));
        }
        Some((self.receiver.name()?, site.other_receiver(self.receiver)?))
    }

    pub(crate) fn codec(&self) -> Codec {
        self.codec.unwrap_or(self.core.settings.codec)
    }

    /// How long this call waits for another caller's load.
    pub(super) fn patience(&self) -> Patience {
        let settings = &self.core.settings;
        let site = self.query.site;
        let hedge = site.and_then(|site| site.hedge).or(settings.hedge);
        let usual = || site.map_or(Duration::ZERO, CallSite::usual_load);
        Patience {
            limit: settings.load_limit,
            hedge: hedge.unwrap_or_else(|| LEAST_HEDGE.max(usual() * USUAL_LOADS)),
        }
    }

    /// What is known of an entry's age.
    pub(super) fn state(&self, found: &Found) -> State {
        let age = self.core.tier.age(&self.query, found);
        match (&self.query.fresh, age) {
            (Some(freshness), Some(age)) => freshness.of(age),
            _ => State::Fresh,
        }
    }

    /// Whether the load of this key has failed a moment ago; and then, whether old values take the place of
    /// the error.
    pub(super) fn has_failed(&self) -> Option<bool> {
        self.core.refreshes.has_failed(&self.query.key)
    }

    /// Has the load of this evidence, which failed, not be tried again for a while, in any process. If it is
    /// `excused`, old values take the place of the error.
    pub(super) fn failed(
        &self,
        evidence: Option<&Evidence>,
        ticket: Option<Ticket>,
        excused: bool,
    ) {
        if !sabotage::keeps(Rule::RetryAfter) {
            return;
        }
        let pause = self.query.fresh.and_then(|it| it.pause_after_failure());
        let pause = pause.unwrap_or(self.core.settings.retry_after);
        let note = |evidence: &Evidence| self.core.tier.note_failure(evidence, pause, excused);
        let is_beside = evidence.is_some_and(note);
        let why = Why::Failed { excused };
        match ticket {
            Some(mut ticket) => ticket.leave_alone(pause, why),
            None if is_beside => self.core.refreshes.leave_alone(&self.query.key, pause, why),
            None => {}
        }
    }

    /// A load has ended well: that one before it has failed says nothing any more.
    #[inline]
    pub(super) fn note_success(&self) {
        if self.query.fresh.is_some() {
            self.core.refreshes.forget_failure(&self.query.key);
        }
    }

    /// How long an outcome is cached, jitter included; `None` for not at all.
    pub(super) fn lifetime<V>(
        &self,
        outcome: &Outcome<V>,
        keep: &impl Keeping<V>,
    ) -> Option<Duration> {
        let ttl = match outcome {
            Outcome::Value(value) => match keep.keep(value) {
                Keep::Default => self.query.ttl,
                Keep::For(ttl) => ttl,
                Keep::Not => return None,
            },
            Outcome::None => self.query.none_ttl?,
        };
        (!ttl.is_zero()).then(|| clock::jittered(ttl, self.core.settings.jitter))
    }

    /// The tags that an outcome tells.
    #[inline]
    pub(super) fn told<V>(&self, outcome: &Outcome<V>, keep: &impl Keeping<V>) -> Told {
        match outcome {
            Outcome::Value(value) if self.query.learns_tags => {
                let mut tags = keep.tags(value);
                let error = remembered::check(&self.query.key, &tags).err();
                // Nothing can be invalidated by an empty name.
                tags.retain(|tag| tag.check().is_ok());
                Told { tags, error }
            }
            _ => Told {
                tags: Vec::new(),
                error: None,
            },
        }
    }

    #[inline]
    pub(super) fn observe(&self, event: Event<'_>) {
        self.core.observer.observe(self.query.site, event);
    }

    pub(super) fn load_begins(&self) {
        self.observe_miss();
        let key = &self.query.key;
        self.observe(Event::Load { key });
    }

    pub(super) fn observe_miss(&self) {
        let Query { key, missed, .. } = &self.query;
        if self.is_refresh {
            missed.note(MissReason::Refreshed);
        }
        let why = missed.reason();
        self.observe(Event::Miss { key, why });
    }

    pub(super) fn observe_shared(&self) {
        self.observe_miss();
        let key = &self.query.key;
        self.observe(Event::Share { key });
    }

    /// Counts a hit that a server has answered as one of those.
    #[inline]
    pub(super) fn note_source(&self, is_from_server: bool) {
        if is_from_server {
            self.core.observer.hit_at_server(self.query.site);
        }
    }

    pub(super) fn observe_refresh(&self) {
        self.query.missed.note(MissReason::Refreshed);
        let key = &self.query.key;
        self.observe(Event::Refresh { key });
    }

    pub(super) fn observe_refresh_failed(&self) {
        let key = &self.query.key;
        self.observe(Event::RefreshFailed { key });
    }

    pub(super) fn observe_refresh_discarded(&self) {
        let key = &self.query.key;
        self.observe(Event::RefreshDiscarded { key });
    }

    /// A call is answered with an entry past its ttl. `waited` says whether a load came before that.
    #[cold]
    pub(super) fn observe_stale(&self, why: StaleReason, waited: bool) {
        let key = &self.query.key;
        self.observe(Event::Stale { key, why, waited });
    }

    /// A call is answered with an old entry, since its load failed a moment ago.
    #[cold]
    pub(super) fn observe_old_at_once(&self, is_from_server: bool) {
        self.note_source(is_from_server);
        self.observe_stale(StaleReason::Error, false);
    }

    /// A load has ended with a value.
    pub(super) fn loaded(&self, took: Duration) {
        self.core.observer.loaded(self.query.site, took, 1);
    }

    pub(super) fn load_failed(&self, took: Duration) {
        self.core.observer.failed_after(self.query.site, took);
        self.load_of_several_failed();
    }

    /// As [`load_failed`](Self::load_failed), of one load for several keys, whose time is not that of this key.
    pub(super) fn load_of_several_failed(&self) {
        let key = &self.query.key;
        self.observe(Event::LoadFailed { key });
    }

    pub(super) fn observe_filled(&self, filled: &Filled) {
        let key = &self.query.key;
        match filled {
            Filled::Stored(ttl) => self.observe(Event::Fill { key, ttl: *ttl }),
            Filled::Overtaken => self.not_filled(NotFilledReason::Overtaken),
            Filled::NewTags => self.not_filled(NotFilledReason::NewTags),
            Filled::Superseded => self.not_filled(NotFilledReason::Superseded),
            Filled::Unstorable => self.not_filled(NotFilledReason::Unstorable),
            Filled::Unwanted => self.not_filled(NotFilledReason::Unwanted),
            Filled::TooHeavy => self.not_filled(NotFilledReason::TooHeavy),
            Filled::Failed(error) => {
                if error.is_altered() {
                    self.core.observer.altered(self.query.site, key, error);
                }
                self.not_filled(NotFilledReason::Failed(error));
            }
        }
    }

    pub(super) fn not_filled(&self, why: NotFilledReason<'_>) {
        let key = &self.query.key;
        self.observe(Event::NotFilled { key, why });
    }

    pub(super) fn degrade(&self, error: &Error) {
        let key = &self.query.key;
        self.observe(Event::Degrade { key, error });
    }

    #[cold]
    pub(super) fn tell_other_type(&self, value: &str, cached: Option<&str>) {
        let Query { site, key, .. } = &self.query;
        self.core.observer.other_type(*site, key, value, cached);
    }
}

/// The tags that a value told.
pub(super) struct Told {
    pub(super) tags: Vec<Key>,
    /// Why the value is not stored with them.
    pub(super) error: Option<Error>,
}

impl Told {
    /// What became of the value, with the reason if it was not stored because of its tags.
    pub(super) fn of(self, filled: Filled) -> Filled {
        match (filled, self.error) {
            (Filled::Unwanted, Some(error)) => Filled::Failed(error),
            (filled, _) => filled,
        }
    }
}
