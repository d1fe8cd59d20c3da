//! Which sentinel is believed, where they disagree.

use std::time::{Duration, Instant};

use super::contacts::Told;

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
        let (by, named) = newest(fresh())?;
        if named.config_epoch < self.config_epoch {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn named(host: &str, config_epoch: u64) -> Named {
        Named {
            host: host.to_owned(),
            port: 6379,
            config_epoch,
        }
    }

    /// What was told in answer to question 2.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "another sentinel may have told nothing"
    )]
    fn told(host: &str, config_epoch: u64) -> Option<Told> {
        let (question, result) = (2, Ok(named(host, config_epoch)));
        Some(Told { question, result })
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "another sentinel may have told nothing"
    )]
    fn error() -> Option<Told> {
        let (question, result) = (2, Err(Error::timeout("", Duration::ZERO)));
        Some(Told { question, result })
    }

    fn host(choice: Option<Choice>) -> Option<String> {
        choice.map(|choice| choice.named.host)
    }

    #[test]
    fn the_answer_of_the_newest_failover_is_believed_and_of_equal_ones_the_first() {
        let choose =
            |answers: &[Option<Told>]| host(Newest::default().choose(answers, 2, Instant::now()));
        let answers = [told("a", 1), told("b", 2), told("c", 2)];
        assert_eq!(choose(&answers).as_deref(), Some("b"));
        assert_eq!(choose(&[error(), None, told("a", 0)]).as_deref(), Some("a"));
        assert_eq!(choose(&[error(), None]), None);
    }

    #[test]
    fn an_answer_to_an_earlier_question_is_not_believed() {
        let answers = [told("a", 5)];
        let now = Instant::now();
        assert_eq!(Newest::default().choose(&answers, 3, now), None);
    }

    #[test]
    fn what_was_heard_of_a_failover_is_not_forgotten() {
        let mut newest = Newest::default();
        let heard = Instant::now();
        newest.note(&named("b", 2), heard);
        newest.note(&named("a", 1), heard);
        let all_older = [told("a", 1), told("a", 1), told("a", 1)];
        assert_eq!(newest.choose(&all_older, 2, heard + SETTLED), None);
        let later = heard + SETTLED + Duration::from_secs(1);
        let one = [told("a", 1), None, error()];
        assert_eq!(newest.choose(&one, 2, later), None);
        // Sentinels that were set up anew.
        let most = [told("a", 1), told("a", 1), error()];
        assert_eq!(host(newest.choose(&most, 2, later)).as_deref(), Some("a"));
        assert_eq!(host(newest.choose(&one, 2, later)).as_deref(), Some("a"));
    }

    #[test]
    fn a_primary_is_replaced_by_a_newer_failover_or_by_a_new_answer_of_the_same_sentinel() {
        let (named, by) = (named("a", 2), 0);
        let choice = Choice { named, by };
        let replaced = |answers: &[Option<Told>]| host(replacement(&choice, answers));
        assert_eq!(replaced(&[told("a", 2), told("b", 2), told("b", 1)]), None);
        assert_eq!(replaced(&[told("a", 3), error(), None]), None);
        assert_eq!(replaced(&[None, told("b", 3)]).as_deref(), Some("b"));
        assert_eq!(replaced(&[told("b", 2)]).as_deref(), Some("b"));
        // It was replaced, and promoted again.
        assert_eq!(replaced(&[told("b", 3), told("a", 4)]), None);
    }
}
