//! The load of a batch call: one body for all keys that the call leads.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Span;

use crate::call::load::renew_while;
use crate::call::site::CallSite;
use crate::core::Core;
use crate::flight::{Leader, together};
use crate::observe::{NotFilledReason, spans};
use crate::tier::{Evidence, Store as _};
use crate::value::{SharedError, SharedValue};

/// The keys that one run of the body is for, by their places in the call.
pub(super) struct Load {
    /// Those whose flights this call leads, in the order of their leaders.
    led: Vec<usize>,
    leaders: Vec<Leader<Evidence>>,
    /// Those that it loads for itself, and stores nothing.
    pub(super) alone: Vec<(usize, NotFilledReason<'static>)>,
    /// When it began, where an entry says how long its load took.
    began: Option<Instant>,
    span: Span,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            led: Vec::new(),
            leaders: Vec::new(),
            alone: Vec::new(),
            began: None,
            span: Span::none(),
        }
    }
}

impl Load {
    pub(super) fn add(&mut self, place: usize, leader: Leader<Evidence>) {
        self.led.push(place);
        self.leaders.push(leader);
    }

    pub(super) fn places(&self) -> impl Iterator<Item = usize> + '_ {
        let alone = self.alone.iter().map(|(place, _)| *place);
        self.led.iter().copied().chain(alone)
    }

    pub(super) fn len(&self) -> usize {
        self.led.len() + self.alone.len()
    }

    /// The keys whose flights this call leads.
    pub(super) fn led(self) -> impl Iterator<Item = (usize, Leader<Evidence>)> {
        self.led.into_iter().zip(self.leaders)
    }

    /// Runs the body, for all callers of these flights. `None` if other attempts have landed for each key,
    /// with values that can be used.
    pub(super) async fn run<F: Future>(
        &mut self,
        core: &Core,
        site: &'static CallSite,
        is_refresh: bool,
        mut body: Pin<&mut F>,
        is_usable: impl Fn(&SharedValue) -> bool,
    ) -> Option<F::Output> {
        let leaders = &mut self.leaders;
        if leaders.iter().all(Leader::is_boarding) {
            // What is loaded is not stored, and callers that come meanwhile share it.
            together::wait_for_previous(leaders, core.settings.share_wait()).await;
        }
        for leader in leaders.iter_mut().filter(|leader| leader.is_boarding()) {
            leader.begin(None);
        }
        let renewal = core.tier.renew_many(leaders, core.settings.load_limit);
        self.began = Some(Instant::now());
        let keys = self.led.len() + self.alone.len();
        self.span = spans::load(&core.observer, Some(site), None, keys, is_refresh);
        let may_share = self.alone.is_empty();
        let span = &self.span;
        let body = poll_fn(|context| {
            let _entered = span.enter();
            body.as_mut().poll(context)
        });
        let load = pin!(renew_while(renewal, body));
        together::load(leaders, load, |landed| may_share && is_usable(landed)).await
    }

    /// Ends the flights without a value.
    pub(super) fn fail(self, error: Option<&SharedError>) {
        for leader in self.leaders {
            leader.fail(error.cloned());
        }
    }

    /// What the leaders saw, by place.
    pub(super) fn evidence(&self) -> HashMap<usize, Arc<Evidence>> {
        let all = self.led.iter().zip(&self.leaders);
        all.filter_map(|(place, leader)| Some((*place, leader.evidence()?)))
            .collect()
    }

    /// Notes for its span how it has ended.
    pub(super) fn ended(&self, is_error: bool) {
        spans::load_ended(&self.span, is_error);
    }

    pub(super) fn cost(&self) -> Duration {
        self.began.map_or(Duration::ZERO, |began| began.elapsed())
    }

    /// How long the load was pending; `None` if it was ready at its first poll.
    pub(super) fn pending_for(&self) -> Option<Duration> {
        self.leaders.first()?.pending_for()
    }
}
