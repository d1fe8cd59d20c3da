//! Which sentinel is believed, where they disagree.

use std::time::{Duration, Instant};

use super::contacts::Told;
use crate::sabotage::{self, Rule};

/// For how long after a sentinel has told of a failover no answer from before it is believed. By then
/// all sentinels know of it: they tell each other every two seconds.
const SETTLED: Duration = Duration::from_secs(10);

/// What a sentinel answers: where the primary is, and since which failover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) host: String,
    pub(super) port: u16,
    /// The number of the failover, which grows with each; 0 where the sentinel does not tell it.
    pub(super) config_epoch: u64,
}

/// An answer that is believed, and the number of the sentinel that gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) named: Named,
    pub(super) by: usize,
}

/// The newest failover that this process has heard of.
#[derive(Debug, Default)]
pub(super) struct Newest {
    config_epoch: u64,
    /// When a sentinel last told of it.
    told: Option<Instant>,
}

impl Named {
    fn is_at(&self, other: &Self) -> bool {
        self.host == other.host && self.port == other.port
    }
}

impl Newest {
    pub(super) fn note(&mut self, named: &Named, now: Instant) {
        if named.config_epoch >= self.config_epoch {
            self.config_epoch = named.config_epoch;
            self.told = Some(now);
        }
    }

    /// The answer to believe, of those there are to this question or a later one. It is that of the
    /// newest failover: a sentinel that was cut off or stood still names an old primary. `None` if
    /// there is no answer, or if this process has heard of a newer failover than all sentinels that
    /// answer.
    ///
    /// Sentinels that were set up anew begin to count at 0. So an older answer is believed if more
    /// than half of all sentinels agree that there is none newer, and none has told otherwise for a
    /// while.
    pub(super) fn choose(
        &mut self,
        answers: &[Option<Told>],
        question: u64,
        now: Instant,
    ) -> Option<Choice> {
        let fresh = || {
            let fresh = answers.iter().map(|told| told.as_ref()?.answer(question));
            fresh
                .enumerate()
                .filter_map(|(by, named)| Some((by, named?)))
        };
        let (by, named) = if sabotage::keeps(Rule::NewestPrimary) {
            newest(fresh())?
        } else {
            fresh().next()?
        };
        if named.config_epoch < self.config_epoch && sabotage::keeps(Rule::NewestPrimary) {
            let is_settled = self.told.is_none_or(|told| now > told + SETTLED);
            if !is_settled || fresh().count() * 2 <= answers.len() {
                return None;
            }
            self.config_epoch = named.config_epoch;
        }
        let named = named.clone();
        Some(Choice { named, by })
    }
}

/// The newest of some answers; the first of them where several are.
fn newest<'a>(answers: impl Iterator<Item = (usize, &'a Named)>) -> Option<(usize, &'a Named)> {
    answers.reduce(|best, next| {
        if next.1.config_epoch > best.1.config_epoch {
            next
        } else {
            best
        }
    })
}

/// The answer by which the primary is not the chosen one any more: that of a newer failover, or, where
/// failovers are not told, a new answer of the same sentinel.
pub(super) fn replacement(choice: &Choice, answers: &[Option<Told>]) -> Option<Choice> {
    let answers = answers.iter().map(|told| told.as_ref()?.answer(0));
    let candidates = answers.enumerate().filter_map(|(by, named)| {
        let named = named?;
        let is_newer = named.config_epoch > choice.named.config_epoch;
        let is_changed = by == choice.by && named.config_epoch == choice.named.config_epoch;
        (is_newer || is_changed).then_some((by, named))
    });
    let (by, named) = newest(candidates)?;
    let named = named.clone();
    (!named.is_at(&choice.named)).then_some(Choice { named, by })
}
