//! Lets the project's own tests take mechanisms away, one at a time, to show that a test then
//! fails.
//!
//! Programs do not use this. Only those tests enable the feature `sabotage`. Without it, each
//! mechanism is always in place, and the checks below are compiled away.
//!
//! A mechanism checks `sabotage::keeps(Rule::…)`, or calls a function below that chooses between it
//! and the wrong alternative. A hit of the local tier has no check.

#![cfg_attr(not(feature = "sabotage"), allow(dead_code, unreachable_pub))]

use std::time::Duration;

use crate::error::Error;

/// A mechanism that keeps a promise, as the rule that it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Rule {
    /// A fill replaces only the lease that its load was given, or what a `set` saw.
    CompareAndFill,
    /// The tags' versions are read before the load begins, not after it ends.
    VersionsBeforeLoad,
    /// An entry is not served if the version of one of its tags is absent.
    AbsentVersion,
    /// A version starts at a random number, so that a lost version does not come back.
    RandomVersion,
    /// An entry is served only through the server it was written to.
    Epoch,
    /// A caller boards a load under way only with the evidence that its leader has.
    Boarding,
    /// A leader that is dropped hands its flight to a waiter.
    HandOver,
    /// A waiter waits for another caller's load only up to a limit.
    WaiterBound,
    /// Every request to the server has a deadline.
    Deadline,
    /// A connection that failed is dropped, and a new one is made.
    Reconnect,
    /// A failure of the cache is a miss.
    Degrade,
    /// A version that cannot be counted up, because the server has no memory left, is removed.
    UnlinkWhenFull,
    /// An update that is dropped or panics is invalidated too.
    RunOnDrop,
    /// After an update of unknown outcome, the invalidation is repeated some time later.
    SecondInvalidation,
    /// While a fence stands around a name, nothing is stored under that name.
    Fence,
    /// Within `after_commit`, invalidations are held until the scope ends.
    AfterCommit,
    /// An invalidation that failed is kept in the journal, and replayed.
    Journal,
    /// Of failed invalidations for which the journal has no room, the buckets are invalidated.
    Overflow,
    /// This process serves no entry of a name that is in the journal.
    Distrust,
    /// Names that the server refuses to invalidate are announced to other processes.
    Publish,
    /// While the server is away, calls do not touch the network.
    Breaker,
    /// A load whose future was woken and is not polled is taken over by a waiter.
    SetAside,
    /// A load that is not woken for long is repeated by a waiter.
    Hedge,
    /// A call does not wait for a load that waits for this call.
    Circle,
    /// Within `after_commit`, calls neither read from nor store in a cache, nor wait for another
    /// caller's load.
    Uncommitted,
    /// After a load that fails, waiters load in waves that grow.
    Waves,
    /// A lease that no load of this cache holds any more, or of another server, is replaced at once.
    DeadLease,
    /// A batched read's turn ends at its answer, even if its caller is not polled.
    TurnEnds,
    /// The time that a call has waited counts towards the deadline of its request for a lease.
    WaitsAddUp,
    /// With `detach`, a load goes on when its caller is dropped.
    Detach,
    /// A lease that could not be given back is given back once the server can be reached.
    GiveBackLater,
    /// A forked process draws other numbers than its parent, and its leases are not its parent's.
    Forks,
    /// A version outlives every entry that carries it, also one whose ttl comes from its value.
    VersionsOutlive,
    /// A fence names few writers, and keeps one deadline for all others.
    ShortFence,
    /// As many names are invalidated together as the link carries within a deadline.
    FitsDeadline,
    /// A connection is made to a server that takes no writes for a while.
    ReadsWhileRefused,
    /// The answers that are under way on a connection are bounded in bytes.
    Room,
    /// There is room for many names that wait for an invalidation.
    BacklogRoom,
    /// Of a name that there is no room for, only its bucket is invalidated.
    Buckets,
    /// After a scope whose future is `Ok`, no invalidation is repeated.
    OkIsSettled,
    /// What is kept is announced once, and not each time that it cannot be replayed.
    AnnounceOnce,
    /// A process that could invalidate what was announced says so.
    Acknowledge,
    /// A function whose key names no type caches the values of one type only.
    FirstType,
    /// An entry on a server says of which type its value is, and is not served as another one.
    TypeInEntry,
    /// In a cluster, an entry names the servers of its versions too, and not only its own.
    ClusterEpochs,
    /// In a cluster, what has moved to another node is said there.
    Moved,
    /// In a cluster, what a node knows does not replace what a later epoch has shown.
    MapEpoch,
    /// A connection ends when a sentinel tells that its server is the primary no more.
    LeavesReplaced,
    /// Of the primaries that sentinels name, the one of the newest failover is connected to.
    NewestPrimary,
    /// Over HTTP, a read carries the token of the last write of its process.
    SyncToken,
    /// Where only the value tells its tags, it is stored only if their versions were read before the
    /// load.
    TagsBeforeLoad,
    /// A caller that boarded after a load had begun is handed its value only if the versions of all
    /// tags of the value are in the evidence.
    LateWaiter,
    /// What a script invalidates, it publishes, for the processes that keep copies.
    PublishedByScript,
    /// A copy is kept only if nothing of it was invalidated since before it was read.
    CopyGeneration,
    /// A process invalidates its own copies after the server's entries.
    OwnCopies,
    /// Copies are served only for as long as their connection has lately shown that it hears.
    TrustEnds,
    /// One caller of all processes refreshes an entry that others are served meanwhile.
    RefreshLock,
    /// A load that failed is not tried again for a while, where an old value is served instead.
    RetryAfter,
    /// A refresh that fails leaves the entry, and its callers are served that.
    OldForError,
    /// A lock that is held is not taken.
    LockHeld,
    /// A lock is released only by its owner.
    LockOwner,
    /// A guard tells that its lock is lost.
    LockLost,
    /// The token of a lock is greater than each earlier one, also where the server has lost it.
    LockToken,
    /// What a sweep of a budget gives up is an entry.
    EntriesOnly,
}

impl Rule {
    /// Every rule, in the order of their bits.
    pub const ALL: &'static [Self] = &[
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
        Self::SetAside,
        Self::Hedge,
        Self::Circle,
        Self::Uncommitted,
        Self::Waves,
        Self::DeadLease,
        Self::TurnEnds,
        Self::WaitsAddUp,
        Self::Detach,
        Self::GiveBackLater,
        Self::Forks,
        Self::VersionsOutlive,
        Self::ShortFence,
        Self::FitsDeadline,
        Self::ReadsWhileRefused,
        Self::Room,
        Self::BacklogRoom,
        Self::Buckets,
        Self::OkIsSettled,
        Self::AnnounceOnce,
        Self::Acknowledge,
        Self::FirstType,
        Self::TypeInEntry,
        Self::ClusterEpochs,
        Self::Moved,
        Self::MapEpoch,
        Self::LeavesReplaced,
        Self::NewestPrimary,
        Self::SyncToken,
        Self::TagsBeforeLoad,
        Self::LateWaiter,
        Self::PublishedByScript,
        Self::CopyGeneration,
        Self::OwnCopies,
        Self::TrustEnds,
        Self::RefreshLock,
        Self::RetryAfter,
        Self::OldForError,
        Self::LockHeld,
        Self::LockOwner,
        Self::LockLost,
        Self::LockToken,
        Self::EntriesOnly,
    ];
}

#[cfg(feature = "sabotage")]
pub use self::taken_away::{Guard, without};

#[cfg(feature = "sabotage")]
pub(crate) use self::taken_away::keeps;

/// Whether this mechanism is in place. Without the feature `sabotage`, it always is.
#[cfg(not(feature = "sabotage"))]
pub(crate) const fn keeps(_: Rule) -> bool {
    true
}

/// The basis of an entry that is filled: the one from before its load. Wrong alternative: one that
/// is read after the load.
pub(crate) fn basis_of_fill<B: Clone>(before_load: &B, after_load: impl FnOnce() -> B) -> B {
    if keeps(Rule::VersionsBeforeLoad) {
        before_load.clone()
    } else {
        after_load()
    }
}

/// The script that fills a slot: it replaces the lease only. Wrong alternative: it replaces
/// anything.
pub(crate) fn fill_script(compare_and_fill: &'static str) -> &'static str {
    if keeps(Rule::CompareAndFill) {
        compare_and_fill
    } else {
        "redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])\nreturn 1"
    }
}

/// As [`fill_script`], for a script that fills several slots.
pub(crate) fn fill_many_script(compare_and_fill: &'static str) -> &'static str {
    if keeps(Rule::CompareAndFill) {
        compare_and_fill
    } else {
        "for at, slot in ipairs(KEYS) do\n\
         redis.call('SET', slot, ARGV[3 * at - 1], 'PX', ARGV[3 * at])\nend\n\
         return string.rep('1', #KEYS)"
    }
}

/// The script that counts a version up: it removes a version that it cannot count up. Wrong
/// alternative: it fails there.
pub(crate) fn bump_script(bump_or_unlink: &'static str) -> &'static str {
    if keeps(Rule::UnlinkWhenFull) {
        bump_or_unlink
    } else {
        "return redis.call('INCR', KEYS[1])"
    }
}

/// The script that takes a lock that is free, with a greater token. Wrong alternatives: it takes any lock, or
/// counts the tokens from one.
pub(crate) fn lock_script(take_free: &'static str) -> &'static str {
    if !keeps(Rule::LockHeld) {
        "local time = redis.call('TIME')\n\
         redis.call('SET', KEYS[1], '1 9999999999999 ' .. ARGV[1], 'PX', ARGV[2])\n\
         return {1, time[1] * 1000000 + time[2]}"
    } else if !keeps(Rule::LockToken) {
        "local now = redis.call('TIME')[1] * 1000\n\
         local held = redis.call('GET', KEYS[1]) or ''\n\
         local last, ends = string.match(held, '^(%d+) (%d+) ')\n\
         if ends and tonumber(ends) > now then return {0, tonumber(ends) - now} end\n\
         local token = (last or 0) + 1\n\
         redis.call('SET', KEYS[1], token .. ' ' .. now + ARGV[2] .. ' ' .. ARGV[1])\n\
         return {1, token}"
    } else {
        take_free
    }
}

/// What a slot begins with that a sweep gives up: that of an entry. Wrong alternative: anything.
pub(crate) fn given_up() -> &'static str {
    if keeps(Rule::EntriesOnly) { "E" } else { "" }
}

/// The first version of a tag: a random number. Wrong alternative: always 1.
pub(crate) fn first_version(random: u64) -> u64 {
    if keeps(Rule::RandomVersion) {
        random
    } else {
        1
    }
}

/// How many writers a fence names. Wrong alternative: all of them.
pub(crate) fn named_writers(few: u64) -> u64 {
    if keeps(Rule::ShortFence) {
        few
    } else {
        1 << 32
    }
}

/// The room for names. Wrong alternative: it holds about a hundred.
pub(crate) fn backlog_room(bytes: usize) -> usize {
    if keeps(Rule::BacklogRoom) {
        bytes
    } else {
        bytes.min(100 * 110)
    }
}

/// What a failure of the cache does to a call: the call is a miss. Wrong alternative: it panics.
pub(crate) fn degrade(error: &Error) {
    assert!(keeps(Rule::Degrade), "{error}");
}

/// The longest that a waiter waits. Wrong alternative: a year.
pub(crate) fn wait_limit(limit: Duration) -> Duration {
    if keeps(Rule::WaiterBound) {
        limit
    } else {
        Duration::from_secs(365 * 24 * 60 * 60)
    }
}

/// After how many failed waves each waiter loads for itself. Wrong alternative: after the first
/// load.
pub(crate) fn waves(waves: u32) -> u32 {
    if keeps(Rule::Waves) { waves } else { 1 }
}

#[cfg(feature = "sabotage")]
mod taken_away {
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    use super::Rule;

    /// The rules that are taken away from this process, one bit each.
    static TAKEN_AWAY: AtomicU64 = AtomicU64::new(0);

    fn bit(rule: Rule) -> u64 {
        1 << rule as u8
    }

    /// Takes a mechanism away from all caches of this process, until the guard is dropped.
    #[must_use = "the mechanism is back once the guard is dropped"]
    pub fn without(rule: Rule) -> Guard {
        TAKEN_AWAY.fetch_or(bit(rule), SeqCst);
        Guard(rule)
    }

    /// Puts the mechanism back when it is dropped.
    #[derive(Debug)]
    pub struct Guard(Rule);

    impl Drop for Guard {
        fn drop(&mut self) {
            TAKEN_AWAY.fetch_and(!bit(self.0), SeqCst);
        }
    }

    /// Whether this mechanism is in place.
    pub(crate) fn keeps(rule: Rule) -> bool {
        TAKEN_AWAY.load(SeqCst) & bit(rule) == 0
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_rule_is_taken_away_while_its_guard_lives() {
            // No other test of this binary depends on the last rule.
            let rule = Rule::ALL[Rule::ALL.len() - 1];
            assert!(keeps(rule));
            let guard = without(rule);
            assert!(!keeps(rule) && keeps(Rule::ALL[0]));
            drop(guard);
            assert!(keeps(rule));
        }

        #[test]
        fn every_rule_is_listed_once_and_has_a_bit() {
            for (i, &rule) in Rule::ALL.iter().enumerate() {
                assert_eq!(bit(rule), 1 << i);
            }
        }
    }
}
