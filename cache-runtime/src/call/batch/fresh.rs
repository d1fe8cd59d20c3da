//! Old values of single elements, in a call for several keys.
//!
//! Each element has what a call for its key alone has: it is refreshed by the call that draws it, whose body
//! loads it with the others that are missing, and served to all other calls. If the body fails, the old
//! values take the place of the error, but only if each element that it was to load has one: a call
//! returns all or an error.

use std::mem;
use std::pin::{Pin, pin};

use super::rows::{BatchShape, KnownOf, Rows};
use super::{BatchCall, CollectedNames, OneOf, Stage, State};
use crate::call::of_value::WithTags;
use crate::call::request::{Keep, Keeping};
use crate::call::shape::Shape;
use crate::flight::Leader;
use crate::join;
use crate::key::Key;
use crate::observe::StaleReason;
use crate::refreshes::Ticket;
use crate::tier::{Evidence, Look};
use crate::value::CacheValue;

impl<B, R, S, T> BatchCall<B, R, S, T>
where
    B: BatchShape<R, T>,
    R: Rows<B::Collection, T, Value = S::Value>,
    S: Shape<Return = <B::One as Shape>::Return, Value: CacheValue>,
    T: Clone,
{
    /// Serves elements whose load failed a moment ago, where there is an old value for the error.
    pub(super) async fn serve_failed(&mut self, open: &[usize]) {
        if self.site.fresh.is_none() {
            return;
        }
        for place in open {
            let OneOf { request, state, .. } = &mut self.calls[*place];
            if let Some(excused) = request.has_failed()
                && let Some(Ok(value)) = request.old_at_once::<KnownOf<S>>(excused).await
            {
                *state = State::known(value);
            }
        }
    }

    /// Boards the refreshes that this call is to make, of the entries that its looks have shown.
    pub(super) async fn revalidate(
        &self,
        open: &[usize],
        looks: &[Look],
    ) -> Vec<Option<(Leader<Evidence>, Ticket)>> {
        if self.site.fresh.is_none() {
            return looks.iter().map(|_| None).collect();
        }
        let each = open.iter().zip(looks).map(|(place, look)| async move {
            match look {
                Look::Hit(found) => self.calls[*place].request.revalidate(found).await,
                Look::Lead(_) | Look::Miss(_) => None,
            }
        });
        join::all(each).await
    }

    /// What [`load`](Self::load) does, of a function whose options say something of old values. The future is
    /// `Send` only if the error is.
    pub async fn load_fresh<K, X, N, F>(
        &mut self,
        keep: K,
        is_excused: X,
        names: N,
        body: F,
    ) -> Option<B::Return>
    where
        K: Fn(&S::Value) -> Keep,
        X: Fn(&S::Return) -> bool,
        N: Fn(&R::Row, &mut CollectedNames),
        F: Future<Output = B::Return>,
    {
        self.load_fresh_keeping(keep, is_excused, names, pin!(body))
            .await
    }

    /// As [`load_fresh`](Self::load_fresh), where values tell tags.
    pub async fn load_fresh_telling<K, W, X, N, F>(
        &mut self,
        keep: K,
        tags: W,
        is_excused: X,
        names: N,
        body: F,
    ) -> Option<B::Return>
    where
        K: Fn(&S::Value) -> Keep,
        W: Fn(&S::Value) -> Vec<Key>,
        X: Fn(&S::Return) -> bool,
        N: Fn(&R::Row, &mut CollectedNames),
        F: Future<Output = B::Return>,
    {
        let keep = WithTags { keep, tags };
        self.load_fresh_keeping(keep, is_excused, names, pin!(body))
            .await
    }

    async fn load_fresh_keeping<K, X, N, F>(
        &mut self,
        keep: K,
        is_excused: X,
        names: N,
        body: Pin<&mut F>,
    ) -> Option<B::Return>
    where
        K: Keeping<S::Value>,
        X: Fn(&S::Return) -> bool,
        N: Fn(&R::Row, &mut CollectedNames),
        F: Future<Output = B::Return>,
    {
        if self.stage == Stage::Bypass {
            return Some(body.await);
        }
        let (load, returned) = self.run_body(body).await?;
        let failed = match B::open(returned) {
            Ok(collection) => {
                let loaded = self.sort(&load, R::rows(collection), names);
                let places: Vec<usize> = load.places().collect();
                self.fill(load, loaded, keep).await;
                for place in places {
                    self.calls[place].ticket = None;
                }
                return None;
            }
            Err(failed) => failed,
        };
        load.ended(true);
        self.core
            .observer
            .failed_after(Some(self.site), load.cost());
        let excused = is_excused(&failed);
        let places: Vec<usize> = load.places().collect();
        let mut evidence = load.evidence();
        for place in &places {
            let OneOf {
                request, ticket, ..
            } = &mut self.calls[*place];
            request.load_of_several_failed();
            let ticket = mem::take(ticket);
            if ticket.is_some() {
                request.observe_refresh_failed();
            }
            let evidence = evidence.remove(place);
            request.failed(evidence.as_deref(), ticket, excused);
        }
        load.fail(S::share_error(&failed).as_ref());
        let mut old = Vec::with_capacity(places.len());
        for place in &places {
            let request = &self.calls[*place].request;
            match request.find_old::<KnownOf<S>>(excused).await {
                Some((Ok(value), _)) => old.push(value),
                _ => return B::with_error(failed),
            }
        }
        for (place, value) in places.into_iter().zip(old) {
            let OneOf { request, state, .. } = &mut self.calls[place];
            request.observe_stale(StaleReason::Error, true);
            *state = State::known(value);
        }
        None
    }

    /// The old value of an element whose load, by another caller, failed.
    pub(super) async fn known_old(&self, place: usize) -> Option<Option<S::Value>> {
        let request = &self.calls[place].request;
        request.query.fresh?;
        let excused = request.has_failed()?;
        let old = request.old::<KnownOf<S>>(excused, StaleReason::Error).await;
        old?.ok()
    }
}
