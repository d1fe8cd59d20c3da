//! Mechanisms, taken away one at a time: how the project's own tests show that
//! they would notice.
//!
//! Not for programs: without the feature `sabotage`, which nothing but those tests
//! turns on, each mechanism is always in place and asking for it costs nothing.
//!
//! A mechanism asks with one `if sabotage::keeps(Rule::…)`, and never on the way of
//! a hit of the local tier.

#![cfg_attr(not(feature = "sabotage"), allow(dead_code, unreachable_pub))]

use std::time::Duration;

use crate::clock;
use crate::error::Error;

/// A mechanism that keeps a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Rule {
    /// A fill replaces the lease it was loaded under, and nothing else.
    CompareAndFill,
    /// The tags' versions are read before the load begins, not after it.
    VersionsBeforeLoad,
    /// An absent version is no valid one.
    AbsentVersion,
    /// A version starts at a random number, so that one drawn again is another.
    RandomVersion,
    /// An entry is served only through the server it was written to.
    Epoch,
    /// A load under way is shared only by those who saw what its leader saw.
    Boarding,
    /// A leader that is dropped hands its flight on.
    HandOver,
    /// Nobody waits for another caller's load for ever.
    WaiterBound,
    /// Every request to the server has a deadline.
    Deadline,
    /// A connection that failed is dropped, and another is made.
    Reconnect,
    /// A failure of the cache is a miss.
    Degrade,
    /// A version that cannot be counted up, for want of memory, is removed.
    UnlinkWhenFull,
    /// An update that is dropped or panics is followed by its invalidation all the same.
    RunOnDrop,
    /// After an update of unknown outcome, another invalidation follows some time later.
    SecondInvalidation,
    /// While an update with a fence is under way, nothing that it changes is stored.
    Fence,
    /// Within `after_commit`, invalidations are held until the scope ends.
    AfterCommit,
    /// An invalidation that failed is kept, and replayed.
    Journal,
    /// More than the journal holds is followed by clearing the namespace.
    Overflow,
    /// What is in the journal is not served by this process.
    Distrust,
    /// Names that the server refuses to invalidate are published to other processes.
    Publish,
    /// While the server is away, calls do not touch the network.
    Breaker,
}

impl Rule {
    /// Every rule, in order.
    pub const ALL: [Self; 21] = [
        Self::CompareAndFill,
        Self::VersionsBeforeLoad,
        Self::AbsentVersion,
        Self::RandomVersion,
        Self::Epoch,
        Self::Boarding,
        Self::HandOver,
        Self::WaiterBound,
        Self::Deadline,
        Self::Reconnect,
        Self::Degrade,
        Self::UnlinkWhenFull,
        Self::RunOnDrop,
        Self::SecondInvalidation,
        Self::Fence,
        Self::AfterCommit,
        Self::Journal,
        Self::Overflow,
        Self::Distrust,
        Self::Publish,
        Self::Breaker,
    ];
}

#[cfg(feature = "sabotage")]
pub use self::taken_away::{Guard, without};

#[cfg(feature = "sabotage")]
pub(crate) use self::taken_away::keeps;

/// Whether this mechanism is in place: always.
#[cfg(not(feature = "sabotage"))]
pub(crate) const fn keeps(_: Rule) -> bool {
    true
}

/// The basis that a filled entry gets: that from before its load.
pub(crate) fn basis_of_fill<B: Clone>(before_load: &B, after_load: impl FnOnce() -> B) -> B {
    if keeps(Rule::VersionsBeforeLoad) {
        before_load.clone()
    } else {
        after_load()
    }
}

/// The script that fills a slot: one that replaces the lease only.
pub(crate) fn fill_script(compare_and_fill: &'static str) -> &'static str {
    if keeps(Rule::CompareAndFill) {
        compare_and_fill
    } else {
        "redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])\nreturn 1"
    }
}

/// The script that moves a version on: one that removes it where it cannot be counted up.
pub(crate) fn bump_script(bump_or_unlink: &'static str) -> &'static str {
    if keeps(Rule::UnlinkWhenFull) {
        bump_or_unlink
    } else {
        "return redis.call('INCR', KEYS[1])"
    }
}

/// The first version of a tag: a random one.
pub(crate) fn first_version(random: u64) -> u64 {
    if keeps(Rule::RandomVersion) {
        random
    } else {
        1
    }
}

/// A failure of the cache: it is a miss.
pub(crate) fn degrade(error: &Error) {
    assert!(keeps(Rule::Degrade), "{error}");
}

/// For how long a waiter waits: up to a bound.
pub(crate) fn wait_limit(bound: Duration) -> Duration {
    if keeps(Rule::WaiterBound) {
        bound
    } else {
        clock::FOREVER
    }
}

#[cfg(feature = "sabotage")]
mod taken_away {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    use super::Rule;

    /// One bit for each rule that is taken away, in the whole process.
    static BROKEN: AtomicU32 = AtomicU32::new(0);

    fn bit(rule: Rule) -> u32 {
        1 << rule as u8
    }

    /// Takes a mechanism away, from all caches of this process, until the guard is dropped.
    #[must_use = "the mechanism is back once the guard is dropped"]
    pub fn without(rule: Rule) -> Guard {
        BROKEN.fetch_or(bit(rule), SeqCst);
        Guard(rule)
    }

    /// Puts the mechanism back when it is dropped.
    #[derive(Debug)]
    pub struct Guard(Rule);

    impl Drop for Guard {
        fn drop(&mut self) {
            BROKEN.fetch_and(!bit(self.0), SeqCst);
        }
    }

    /// Whether this mechanism is in place.
    pub(crate) fn keeps(rule: Rule) -> bool {
        BROKEN.load(SeqCst) & bit(rule) == 0
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_rule_is_away_for_as_long_as_its_guard() {
            // One that no other test of this binary depends on.
            let rule = Rule::ALL[Rule::ALL.len() - 1];
            assert!(keeps(rule));
            let guard = without(rule);
            assert!(!keeps(rule) && keeps(Rule::ALL[0]));
            drop(guard);
            assert!(keeps(rule));
        }

        #[test]
        fn every_rule_is_listed_once_and_has_a_bit() {
            for (i, rule) in Rule::ALL.into_iter().enumerate() {
                assert_eq!(bit(rule), 1 << i);
            }
        }
    }
}
