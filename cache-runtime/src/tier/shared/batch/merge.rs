//! Merges the keys of many callers into one list, and splits the answer up among them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hashbrown::DefaultHashBuilder;

use super::line::{Caller, ReplySender};
use super::sizes::Sizes;
use super::source::SlotRead;
use crate::driver::{Answers, Elsewhere, ReadKeys};
use crate::error::Error;
use crate::tier::shared::entry::{SharedDecode, Version};

/// Callers that share a command, in which each key stands once.
pub(super) struct Batch<C> {
    members: Vec<Member<C>>,
    /// The index in the command of each key that a caller reads, caller by caller.
    indices: Vec<usize>,
    /// For each key of the command, whether several callers read it.
    is_shared: Vec<bool>,
}

struct Member<C> {
    slot_hash: u64,
    deadline: Instant,
    reply: ReplySender<C>,
    /// Which of the batch's `indices` are this caller's.
    indices: Range<usize>,
}

impl<C> Batch<C> {
    /// The batch of these callers, and the keys that it asks for.
    pub(super) fn new(callers: Vec<Caller<C>>) -> (Self, ReadKeys) {
        let bytes = callers.iter().map(|caller| caller.read.keys.packed_len());
        let mut keys = ReadKeys::with_capacity(bytes.sum());
        let mut indices = Vec::with_capacity(2 * callers.len());
        let mut is_shared = Vec::with_capacity(2 * callers.len());
        let mut seen =
            HashMap::with_capacity_and_hasher(2 * callers.len(), DefaultHashBuilder::default());
        for key in callers.iter().flat_map(|caller| caller.read.keys.iter()) {
            let index = *seen.entry(key).or_insert(is_shared.len());
            if index == is_shared.len() {
                keys.push(key);
                is_shared.push(false);
            } else {
                is_shared[index] = true;
            }
            indices.push(index);
        }
        let mut end = 0;
        let members = callers.into_iter().map(|caller| {
            let begin = end;
            end += caller.read.keys.len();
            Member {
                slot_hash: caller.read.slot_hash,
                deadline: caller.deadline,
                reply: caller.reply,
                indices: begin..end,
            }
        });
        let batch = Self {
            members: members.collect(),
            indices,
            is_shared,
        };
        (batch, keys)
    }

    /// The earliest deadline of the callers that still wait.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.members.iter().map(|member| member.deadline).min()
    }

    /// Fails the callers whose deadline is `now` or earlier, and removes them from the batch.
    pub(super) fn fail_expired(&mut self, now: Instant, error: &Error) {
        let is_expired = |member: &mut Member<C>| member.deadline <= now;
        for member in self.members.extract_if(.., is_expired) {
            let _ = member.reply.send(Err(error.clone()));
        }
    }

    /// Fails all callers.
    pub(super) fn fail(self, error: &Error) {
        for member in self.members {
            let _ = member.reply.send(Err(error.clone()));
        }
    }

    /// Sends each caller the values of its keys, or an error, if one of them is elsewhere.
    pub(super) fn reply(
        self,
        connection: &Arc<C>,
        mut answers: Answers,
        sizes: &Sizes,
        error: impl Fn(&Elsewhere) -> Error,
    ) {
        let shared_decode = |is_shared: &bool| is_shared.then(SharedDecode::default);
        let shared_decodes: Vec<_> = self.is_shared.iter().map(shared_decode).collect();
        let mut last: (&[usize], Arc<[Version]>) = Default::default();
        for member in self.members {
            let indices = &self.indices[member.indices];
            if let Some(elsewhere) = answers.where_one_is(|index| indices.contains(&index)) {
                let _ = member.reply.send(Err(error(elsewhere)));
                continue;
            }
            let Some((&slot, tags)) = indices.split_first() else {
                continue;
            };
            let values = &mut answers.values;
            // Most callers of one function name the same tags.
            if last.0 != tags {
                let value = |index: &usize| values.get(*index).and_then(Option::as_deref);
                let versions = tags.iter().map(|index| Version::read(value(index)));
                last = (tags, versions.collect());
            }
            let shared_decode = shared_decodes.get(slot).cloned().flatten();
            let slot = values.get_mut(slot).and_then(|value| match shared_decode {
                Some(_) => value.clone(),
                // A second handle to the same bytes would cost an allocation.
                None => value.take(),
            });
            sizes.remember(member.slot_hash, slot.as_ref().map(Bytes::len));
            let _ = member.reply.send(Ok(SlotRead {
                connection: connection.clone(),
                slot,
                shared_decode,
                versions: last.1.clone(),
            }));
        }
    }
}
