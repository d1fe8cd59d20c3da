//! Why calls are not answered from the cache.
//!
//! What a look has shown is noted on its cold path, in the call's query, and counted when the call
//! counts as a miss. So each miss has one reason: the first that was found.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use serde::Serialize;

/// Why a call was not answered from the cache. Each miss has one reason: the first that was found.
///
/// A store says only what it can tell at no cost. What it cannot tell apart shares a reason.
///
/// ```
/// use cache_runtime::{Cache, Event, MissReason};
///
/// let builder = Cache::builder().on_event(|event| {
///     if let Event::Miss { key, why: MissReason::Unavailable, .. } = event {
///         eprintln!("{key} is loaded without the cache");
///     }
/// });
/// # let _ = builder;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MissReason {
    /// There is no entry: nothing was stored, or it has expired, was evicted, or was removed because
    /// its key was invalidated. In the process (`memory:`), an entry whose tag was invalidated counts
    /// here, too, and so does any entry that [`Cache::get`](crate::Cache::get) cannot serve.
    Absent,
    /// There is no entry yet: a load of it is under way, in this process or another.
    Loading,
    /// There is an entry, and it is dead: one of its tags was invalidated, or the server has lost the
    /// version of one of its tags.
    Invalidated,
    /// There is an entry that is past its ttl, and that the function's options do not allow to be
    /// served now.
    Expired,
    /// There is an entry that was stored on another server than the one that has it now, such as one
    /// from before a failover or from a restored snapshot.
    OtherServer,
    /// There is an entry of another version of the program, or of another function: its schema
    /// version, its type, its tags or its key are others.
    Mismatched,
    /// There is something that cannot be read or decoded.
    Unreadable,
    /// A fence stands: writers are at work.
    Fenced,
    /// An invalidation of one of the names is still due, so what is stored is not used.
    Distrusted,
    /// The store could not be asked, or the answer did not come in time.
    Unavailable,
    /// The call refreshes an entry: by an order ([`refresh`](crate::refresh),
    /// [`refresh_all`](crate::refresh_all)), or because the entry's ttl has ended or ends soon.
    Refreshed,
    /// The cache was not asked: within [`after_commit`](crate::after_commit), with a transaction among
    /// the arguments, for a type that the function does not cache, under an empty name, without a store
    /// (`off:`), or for a function with `local` under a name that servers know in a short form only.
    Bypassed,
}

impl MissReason {
    pub(crate) const COUNT: usize = 12;

    /// All of them, each at its index.
    pub(crate) const ALL: [Self; Self::COUNT] = [
        Self::Absent,
        Self::Loading,
        Self::Invalidated,
        Self::Expired,
        Self::OtherServer,
        Self::Mismatched,
        Self::Unreadable,
        Self::Fenced,
        Self::Distrusted,
        Self::Unavailable,
        Self::Refreshed,
        Self::Bypassed,
    ];

    #[inline]
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// What it is called in logs and metrics: the name of its field in [`Misses`].
    ///
    /// ```
    /// assert_eq!(cache_runtime::MissReason::OtherServer.name(), "other_server");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Loading => "loading",
            Self::Invalidated => "invalidated",
            Self::Expired => "expired",
            Self::OtherServer => "other_server",
            Self::Mismatched => "mismatched",
            Self::Unreadable => "unreadable",
            Self::Fenced => "fenced",
            Self::Distrusted => "distrusted",
            Self::Unavailable => "unavailable",
            Self::Refreshed => "refreshed",
            Self::Bypassed => "bypassed",
        }
    }
}

impl fmt::Display for MissReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How many misses had which reason: see [`MissReason`]. In all, they are as many as
/// [`Stats::misses`](crate::Stats::misses), except while calls are counted.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
/// let cache = cache_runtime::Cache::builder().url("memory:").build()?;
/// cache.get::<u32>("answer").await?;
/// let missed = cache.stats().missed;
/// assert_eq!(missed.absent, 1);
/// for (reason, count) in missed.iter().filter(|(_, count)| *count > 0) {
///     println!("{count} misses: {reason}");
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Misses {
    /// [`MissReason::Absent`].
    pub absent: u64,
    /// [`MissReason::Loading`].
    pub loading: u64,
    /// [`MissReason::Invalidated`].
    pub invalidated: u64,
    /// [`MissReason::Expired`].
    pub expired: u64,
    /// [`MissReason::OtherServer`].
    pub other_server: u64,
    /// [`MissReason::Mismatched`].
    pub mismatched: u64,
    /// [`MissReason::Unreadable`].
    pub unreadable: u64,
    /// [`MissReason::Fenced`].
    pub fenced: u64,
    /// [`MissReason::Distrusted`].
    pub distrusted: u64,
    /// [`MissReason::Unavailable`].
    pub unavailable: u64,
    /// [`MissReason::Refreshed`].
    pub refreshed: u64,
    /// [`MissReason::Bypassed`].
    pub bypassed: u64,
}

impl Misses {
    /// From the counts in the order of [`MissReason::ALL`].
    pub(crate) fn of(counts: [u64; MissReason::COUNT]) -> Self {
        let [
            absent,
            loading,
            invalidated,
            expired,
            other_server,
            mismatched,
            unreadable,
            fenced,
            distrusted,
            unavailable,
            refreshed,
            bypassed,
        ] = counts;
        Self {
            absent,
            loading,
            invalidated,
            expired,
            other_server,
            mismatched,
            unreadable,
            fenced,
            distrusted,
            unavailable,
            refreshed,
            bypassed,
        }
    }

    /// How many misses had this reason.
    ///
    /// ```
    /// # let missed = cache_runtime::Misses::default();
    /// assert_eq!(missed.get(cache_runtime::MissReason::Expired), missed.expired);
    /// ```
    pub fn get(&self, reason: MissReason) -> u64 {
        match reason {
            MissReason::Absent => self.absent,
            MissReason::Loading => self.loading,
            MissReason::Invalidated => self.invalidated,
            MissReason::Expired => self.expired,
            MissReason::OtherServer => self.other_server,
            MissReason::Mismatched => self.mismatched,
            MissReason::Unreadable => self.unreadable,
            MissReason::Fenced => self.fenced,
            MissReason::Distrusted => self.distrusted,
            MissReason::Unavailable => self.unavailable,
            MissReason::Refreshed => self.refreshed,
            MissReason::Bypassed => self.bypassed,
        }
    }

    /// Each reason with its count, in the order of [`MissReason`].
    ///
    /// ```
    /// # let missed = cache_runtime::Misses::default();
    /// assert!(missed.iter().all(|(_, count)| count == 0));
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (MissReason, u64)> + '_ {
        MissReason::ALL
            .map(|reason| (reason, self.get(reason)))
            .into_iter()
    }
}

/// The first reason that was found for a call to be a miss.
#[derive(Debug, Default)]
pub(crate) struct WhyMissed(AtomicU8);

impl WhyMissed {
    /// Notes a reason, unless there is one. One call notes at a time.
    #[inline]
    pub(crate) fn note(&self, why: MissReason) {
        if self.0.load(Relaxed) == 0 {
            self.0.store(why as u8 + 1, Relaxed);
        }
    }

    /// The reason. A call for which nothing was noted has not asked the store.
    #[inline]
    pub(crate) fn reason(&self) -> MissReason {
        let noted = usize::from(self.0.load(Relaxed));
        let noted = noted.checked_sub(1).and_then(|at| MissReason::ALL.get(at));
        noted.copied().unwrap_or(MissReason::Bypassed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_index_its_field_and_its_name() {
        let mut counts = [0; MissReason::COUNT];
        for (at, count) in (1..).zip(&mut counts) {
            *count = at;
        }
        let misses = Misses::of(counts);
        let json = serde_json::to_value(misses).unwrap();
        for (at, reason) in MissReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), at);
            assert_eq!(misses.get(reason), counts[at]);
            assert_eq!(json[reason.name()], counts[at]);
        }
    }

    #[test]
    fn the_first_reason_counts() {
        let why = WhyMissed::default();
        assert_eq!(why.reason(), MissReason::Bypassed);
        why.note(MissReason::Absent);
        why.note(MissReason::Unavailable);
        assert_eq!(why.reason(), MissReason::Absent);
    }
}
