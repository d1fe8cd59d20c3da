//! What many callers want to know, asked for at once.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hashbrown::DefaultHashBuilder;
use redis::{Cmd, Value};

use super::sizes::Sizes;
use super::wanted::new_mget;
use super::{Caller, Found, Telling, bytes};
use crate::entry::{Company, Version};
use crate::error::Error;

/// Callers who share a command, in which each name stands once.
pub(super) struct Batch<C> {
    members: Vec<Member<C>>,
    /// The place in the command of each name that they want, one caller's after the other's.
    places: Vec<usize>,
    /// For each place, whether several want to know what is there.
    is_shared: Vec<bool>,
}

struct Member<C> {
    slot: u64,
    until: Instant,
    telling: Telling<C>,
    /// Which of the places are this caller's.
    places: Range<usize>,
}

impl<C> Batch<C> {
    /// The callers, and the `MGET` that asks for all of them.
    pub(super) fn new(callers: Vec<Caller<C>>) -> (Self, Cmd) {
        let bytes = callers.iter().map(|caller| caller.read.wanted.bytes());
        let mut mget = new_mget(2 * callers.len(), bytes.sum());
        let mut places = Vec::with_capacity(2 * callers.len());
        let mut is_shared = Vec::with_capacity(2 * callers.len());
        let mut seen =
            HashMap::with_capacity_and_hasher(2 * callers.len(), DefaultHashBuilder::default());
        for name in callers.iter().flat_map(|caller| caller.read.wanted.names()) {
            let place = *seen.entry(name).or_insert(is_shared.len());
            if place == is_shared.len() {
                mget.arg(name);
                is_shared.push(false);
            } else {
                is_shared[place] = true;
            }
            places.push(place);
        }
        let mut end = 0;
        let members = callers.into_iter().map(|caller| {
            let begin = end;
            end += caller.read.wanted.names().count();
            Member {
                slot: caller.read.slot,
                until: caller.until,
                telling: caller.telling,
                places: begin..end,
            }
        });
        let batch = Self {
            members: members.collect(),
            places,
            is_shared,
        };
        (batch, mget)
    }

    /// When the time of one of those who still wait is up.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.members.iter().map(|member| member.until).min()
    }

    /// Tells those whose time was up then.
    pub(super) fn leave_behind(&mut self, then: Instant, error: &Error) {
        for member in self.members.extract_if(.., |member| member.until <= then) {
            let _ = member.telling.send(Err(error.clone()));
        }
    }

    /// Tells everybody that it failed.
    pub(super) fn fail(self, error: &Error) {
        for member in self.members {
            let _ = member.telling.send(Err(error.clone()));
        }
    }

    /// Tells each what it wants to know.
    pub(super) fn tell(self, connection: &Arc<C>, values: Vec<Value>, sizes: &Sizes) {
        let mut values: Vec<Option<Bytes>> = values.into_iter().map(bytes).collect();
        let company = |is_shared: &bool| is_shared.then(Company::default);
        let companies: Vec<Option<Company>> = self.is_shared.iter().map(company).collect();
        let mut last: (&[usize], Arc<[Version]>) = Default::default();
        for member in self.members {
            let Some((&slot, tags)) = self.places[member.places].split_first() else {
                continue;
            };
            // Most callers of one function name the same tags.
            if last.0 != tags {
                let value = |place: &usize| values.get(*place).and_then(Option::as_deref);
                let versions = tags.iter().map(|place| Version::read(value(place)));
                last = (tags, versions.collect());
            }
            let company = companies.get(slot).cloned().flatten();
            let slot = values.get_mut(slot).and_then(|value| match company {
                Some(_) => value.clone(),
                // A second handle to the same bytes would cost an allocation.
                None => value.take(),
            });
            sizes.remember(member.slot, slot.as_ref());
            let _ = member.telling.send(Ok(Found {
                connection: connection.clone(),
                slot,
                company,
                versions: last.1.clone(),
            }));
        }
    }
}
