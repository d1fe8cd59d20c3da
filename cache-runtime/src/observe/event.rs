//! What a cache does, as a listener hears it.

use std::fmt;
use std::time::Duration;

use crate::counters::Detail;
use crate::error::Error;
use crate::key::{Key, Pattern};
use crate::missed::MissReason;
use crate::registry::Function;

/// Something that a cache did, as the listener of [`CacheBuilder::on_event`](crate::CacheBuilder::on_event)
/// hears it.
///
/// Displays as one line, such as `load user:7`: the form in which tests compare what happened. The
/// lines may change with a release.
///
/// The events of one call come in order. Those of other calls, on other threads, come between them,
/// and two changes of state may be told in the reverse order: for the state of the server and the
/// journal, ask [`Cache::health`](crate::Cache::health).
///
/// *Names* are keys and tags: what can be invalidated.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use cache_runtime::{Cache, Options};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
/// let log = Arc::new(Mutex::new(Vec::new()));
/// let events = log.clone();
/// let cache = Cache::builder()
///     .url("memory:")
///     .jitter(0.0)
///     .on_event(move |event| events.lock().unwrap().push(event.to_string()))
///     .build()?;
///
/// for _ in 0..2 {
///     let load = async { Ok::<_, std::io::Error>("Ada".to_owned()) };
///     cache.get_or_load("user:7", Options::new(), load).await.unwrap();
/// }
/// cache.invalidate(["user:7"]).await?;
///
/// assert_eq!(*log.lock().unwrap(), [
///     "miss user:7",
///     "load user:7",
///     "fill user:7 ttl=300s",
///     "hit user:7",
///     "invalidate user:7",
/// ]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A call was answered from the cache.
    #[non_exhaustive]
    Hit {
        /// The key of its entry.
        key: &'a Key,
    },
    /// A call was not answered from the cache. For a call that loads, [`Load`](Self::Load) or
    /// [`Share`](Self::Share) is next, and what it waited for came before;
    /// [`Cache::get`](crate::Cache::get) does not load.
    #[non_exhaustive]
    Miss {
        /// The key without an entry.
        key: &'a Key,
        /// Why it was not.
        why: MissReason,
    },
    /// A call begins to wait for another caller's load, in this process. It may wait more than
    /// once, and may load itself in the end.
    #[non_exhaustive]
    Wait {
        /// The key that is loaded.
        key: &'a Key,
    },
    /// A call begins to wait for a load in another process.
    #[non_exhaustive]
    Watch {
        /// The key that is loaded.
        key: &'a Key,
    },
    /// A call is answered with what another caller's load yielded: a value, or an error.
    #[non_exhaustive]
    Share {
        /// The key that was loaded.
        key: &'a Key,
    },
    /// A call is answered with an old entry: one that is past its ttl, or whose refresh has failed. An
    /// entry that was invalidated is never one of these.
    #[non_exhaustive]
    Stale {
        /// The key of the entry.
        key: &'a Key,
        /// Why the entry is served.
        why: StaleReason,
        /// Whether the call has loaded, or has waited for a load, before it was answered: then
        /// [`Miss`](Self::Miss) was told of it, or is next. Else it counts as a hit.
        waited: bool,
    },
    /// A refresh begins: a load of an entry that other calls are served meanwhile. [`Fill`](Self::Fill) and
    /// the others say how the load ended, too.
    #[non_exhaustive]
    Refresh {
        /// The key that is loaded.
        key: &'a Key,
    },
    /// A refresh failed, or took longer than [`load_limit`](crate::CacheBuilder::load_limit). The entry
    /// stays as it is.
    #[non_exhaustive]
    RefreshFailed {
        /// The key that was loaded.
        key: &'a Key,
    },
    /// What a refresh has loaded is not stored: an invalidation, a fence or another entry came meanwhile.
    #[non_exhaustive]
    RefreshDiscarded {
        /// The key that was loaded.
        key: &'a Key,
    },
    /// An entry was to be refreshed and is not, since as many refreshes are under way as
    /// [`max_refreshes`](crate::CacheBuilder::max_refreshes) allows.
    #[non_exhaustive]
    RefreshSkipped {
        /// The key of the entry.
        key: &'a Key,
    },
    /// The ttl of entries was ended, by [`Cache::expire`](crate::Cache::expire).
    #[non_exhaustive]
    Expire {
        /// The keys.
        keys: &'a [Key],
    },
    /// A load begins: the function's body runs. [`Fill`](Self::Fill), [`NotFilled`](Self::NotFilled)
    /// or [`LoadFailed`](Self::LoadFailed) says how it ended, unless it panics or is dropped.
    #[non_exhaustive]
    Load {
        /// The key that is loaded.
        key: &'a Key,
    },
    /// A load ended with an error, which is not cached. It is shared with the callers that wait, if it
    /// can be cloned.
    #[non_exhaustive]
    LoadFailed {
        /// The key that was loaded.
        key: &'a Key,
    },
    /// A value was stored: by the load of its key, or by [`Cache::set`](crate::Cache::set),
    /// [`Cache::set_many`](crate::Cache::set_many) or [`prime`](crate::prime).
    #[non_exhaustive]
    Fill {
        /// The key of the entry.
        key: &'a Key,
        /// How long it may be served, jitter included.
        ttl: Duration,
    },
    /// A value was not stored.
    #[non_exhaustive]
    NotFilled {
        /// The key without an entry.
        key: &'a Key,
        /// Why it was not stored.
        why: NotFilledReason<'a>,
    },
    /// A call does not use what is stored, because an invalidation of one of its names failed on the
    /// server, and is still due.
    #[non_exhaustive]
    Distrust {
        /// The key that is loaded instead.
        key: &'a Key,
    },
    /// A call does not use what is stored under its key, because it is of another type. Told once a
    /// function.
    ///
    /// The function is called for several types, and its key [names none](macro@crate::cached#types):
    /// values of the first type are cached, and no others. Or another function has stored under the
    /// key, or another version of the program, where the type has another
    /// [name](macro@crate::key_name).
    #[non_exhaustive]
    OtherType {
        /// The key of the call.
        key: &'a Key,
        /// The function.
        function: &'static str,
        /// The type of the value that the call returns; of its receiver, where the values of both are
        /// of one type.
        value: &'a str,
        /// The type that is cached, likewise; `None` if it is only known to be another.
        cached: Option<&'a str>,
    },
    /// A value is not stored, because it would come back from the server as another one: see
    /// [`CacheBuilder::check_values`](crate::CacheBuilder::check_values). Told once a function.
    #[non_exhaustive]
    Altered {
        /// The key of the call.
        key: &'a Key,
        /// The function.
        function: &'static str,
        /// The codec, and where the two values differ.
        error: &'a Error,
    },
    /// A call went on without the cache, or without a part of it, since that failed.
    #[non_exhaustive]
    Degrade {
        /// The key of the call.
        key: &'a Key,
        /// What failed.
        error: &'a Error,
    },
    /// [`Cache::delete`](crate::Cache::delete) was carried out, or
    /// [`Cache::delete_many`](crate::Cache::delete_many) for one of its keys.
    #[non_exhaustive]
    Delete {
        /// The key.
        key: &'a Key,
        /// Whether there was an entry.
        existed: bool,
    },
    /// Names were invalidated.
    #[non_exhaustive]
    Invalidate {
        /// The keys and tags.
        names: &'a [Key],
    },
    /// Names could not be invalidated on the server. They are kept in the journal, and this process
    /// does not serve them until their invalidation was repeated.
    #[non_exhaustive]
    NotInvalidated {
        /// The keys and tags.
        names: &'a [Key],
        /// What failed.
        error: &'a Error,
    },
    /// All names that match a pattern were invalidated.
    #[non_exhaustive]
    InvalidateMatching {
        /// The pattern.
        pattern: &'a Pattern,
        /// How many entries were removed, because their keys match.
        entries: u64,
    },
    /// The names that match a pattern could not all be invalidated on the server. The pattern is kept in
    /// the journal, and this process serves nothing that matches it until its invalidation was
    /// repeated.
    #[non_exhaustive]
    NotInvalidatedMatching {
        /// The pattern.
        pattern: &'a Pattern,
        /// What failed.
        error: &'a Error,
    },
    /// An annotated function with a transaction among its arguments was called outside of
    /// [`after_commit`](crate::after_commit). It is told once a function. What it would invalidate is
    /// invalidated before the commit, and once more after
    /// [`settle`](crate::CacheBuilder::settle); what it loads is not stored. See
    /// [Transactions](crate::transactions).
    #[non_exhaustive]
    OutsideOfCommit {
        /// The function, with its place.
        function: &'a Function,
    },
    /// Names are kept in the journal, since the caller cannot wait for their invalidation.
    #[non_exhaustive]
    InvalidateLater {
        /// The keys and tags.
        names: &'a [Key],
    },
    /// Everything in the namespace was removed.
    #[non_exhaustive]
    Clear,
    /// A writer, a function with a fence, has placed it: until the writer has left, nothing of
    /// these names is stored.
    #[non_exhaustive]
    Fence {
        /// The keys and tags.
        names: &'a [Key],
    },
    /// A writer has left its fence. Other writers may still be behind the same fence.
    #[non_exhaustive]
    Unfence {
        /// The keys and tags.
        names: &'a [Key],
    },
    /// A writer could not place its fence.
    #[non_exhaustive]
    NotFenced {
        /// The keys and tags.
        names: &'a [Key],
        /// What failed.
        error: &'a Error,
    },
    /// A writer could not leave its fence, which stands until its deadline.
    #[non_exhaustive]
    NotUnfenced {
        /// The keys and tags.
        names: &'a [Key],
        /// What failed.
        error: &'a Error,
    },
    /// An operation of the API by hand failed.
    #[non_exhaustive]
    Fail {
        /// What it returns.
        error: &'a Error,
    },
    /// The server cannot be reached, or refuses the connection. Until it is back, calls do not
    /// use the network.
    #[non_exhaustive]
    ServerAway {
        /// What failed.
        error: &'a Error,
    },
    /// The server is reached again.
    #[non_exhaustive]
    ServerBack {
        /// Where it is.
        address: &'a str,
    },
    /// The server answers, and began to refuse something.
    #[non_exhaustive]
    ServerRefuses {
        /// What it refuses.
        error: &'a Error,
    },
    /// The server refuses nothing any more.
    #[non_exhaustive]
    ServerAccepts {
        /// Where it is.
        address: &'a str,
    },
    /// The journal, which was empty, keeps invalidations that the server did not carry out.
    #[non_exhaustive]
    JournalKeeps,
    /// Everything that the journal kept was carried out.
    #[non_exhaustive]
    JournalEmptied,
    /// More invalidations failed than the journal has [room](crate::CacheBuilder::backlog_room) for.
    /// Names that do not fit are kept as buckets of hashes. Until the server has carried them out, no
    /// name in these buckets is served here; then all of them are invalidated.
    #[non_exhaustive]
    JournalOverflows {
        /// How many bytes of names it keeps.
        room: usize,
    },
    /// More updates failed within [`settle`](crate::CacheBuilder::settle) than there is
    /// [room](crate::CacheBuilder::backlog_room) for. Names that do not fit are kept as buckets of
    /// hashes, and what is in these buckets is invalidated when they are due.
    #[non_exhaustive]
    RepeatsOverflow {
        /// How many bytes of names are kept.
        room: usize,
    },
    /// The cache was dropped with names in its journal. Other processes may serve their old
    /// entries until the ttl ends.
    #[non_exhaustive]
    JournalLost {
        /// Where the server is.
        address: &'a str,
        /// How many names.
        count: usize,
        /// Whether there were more, which were kept as buckets.
        overflowed: bool,
    },
    /// Other processes were not told of names in the journal: they may serve old entries until the
    /// server carries the invalidation out.
    #[non_exhaustive]
    NotAnnounced {
        /// What failed.
        error: &'a Error,
    },
    /// Another process announced names that cannot be read: this process may serve their old
    /// entries.
    #[non_exhaustive]
    AnnouncementUnreadable,
    /// This process cannot hear what other processes invalidate, so it keeps no copies of entries, and each
    /// call asks the server.
    #[non_exhaustive]
    CopiesUnheard {
        /// Why it does not hear.
        error: &'a Error,
    },
    /// This process cannot listen to announcements, and may serve old entries of what another
    /// process failed to invalidate.
    #[non_exhaustive]
    AnnouncementsUnheard {
        /// What failed.
        error: &'a Error,
    },
    /// The cache was dropped before names of updates that failed were invalidated once more.
    #[non_exhaustive]
    RepeatLost {
        /// How many names.
        count: usize,
    },
}

/// Why a value was not stored.
///
/// ```
/// use cache_runtime::{Cache, Event, NotFilledReason};
///
/// let builder = Cache::builder().on_event(|event| {
///     if let Event::NotFilled { key, why: NotFilledReason::Failed(error), .. } = event {
///         eprintln!("{key} is loaded again by each call: {error}");
///     }
/// });
/// # let _ = builder;
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum NotFilledReason<'a> {
    /// An invalidation, a fence or another entry came while it was loaded.
    Overtaken,
    /// Its function's values tell tags (a closure in `invalidate_on`), and it has some whose versions were
    /// not read before it was loaded. The next load is stored, unless it has other tags again.
    NewTags,
    /// Nothing could be stored when its load began: a fence stands, the store could not be asked,
    /// another process loads, the load that the call waited for failed, the entry is of another
    /// type or of a newer schema version (`version`), a name is empty, or there is no store.
    Unstorable,
    /// Another load of the same flight ended first. This one was set aside, or hung, until another
    /// caller loaded too.
    Superseded,
    /// The function says so: by a ttl of zero, `unless`, or a `None` without `none_ttl`.
    Unwanted,
    /// It was loaded within [`after_commit`](crate::after_commit), or by a function that was given a
    /// transaction, and may be rolled back.
    Uncommitted,
    /// Its function caches values for another type, and its key does not name it.
    OtherType,
    /// It could not be encoded or written.
    Failed(&'a Error),
}

/// Why a call is answered with an old entry.
///
/// ```
/// use cache_runtime::{Cache, Event, StaleReason};
///
/// let builder = Cache::builder().on_event(|event| {
///     if let Event::Stale { key, why: StaleReason::Error, .. } = event {
///         eprintln!("{key} cannot be loaded, and is served as it was");
///     }
/// });
/// # let _ = builder;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StaleReason {
    /// It is refreshed (`stale_while_revalidate`).
    Revalidating,
    /// Its load failed (`stale_if_error`), or its refresh did.
    Error,
    /// Its load takes long (`stale_if_slow`).
    Slow,
}

impl StaleReason {
    pub(super) fn detail(self) -> Detail {
        match self {
            Self::Revalidating => Detail::StaleRevalidating,
            Self::Error => Detail::StaleError,
            Self::Slow => Detail::StaleSlow,
        }
    }
}

impl fmt::Display for StaleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Revalidating => "revalidating",
            Self::Error => "error",
            Self::Slow => "slow",
        })
    }
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Hit { key } => write!(f, "hit {key}"),
            Self::Miss { key, .. } => write!(f, "miss {key}"),
            Self::Wait { key } => write!(f, "wait {key}"),
            Self::Watch { key } => write!(f, "watch {key}"),
            Self::Share { key } => write!(f, "share {key}"),
            Self::Stale { key, why, .. } => write!(f, "stale {key}: {why}"),
            Self::Refresh { key } => write!(f, "refresh {key}"),
            Self::RefreshFailed { key } => write!(f, "refresh failed {key}"),
            Self::RefreshDiscarded { key } => write!(f, "refresh discarded {key}"),
            Self::RefreshSkipped { key } => write!(f, "refresh skipped {key}"),
            Self::Expire { keys } => write!(f, "expire {}", Spaced(keys)),
            Self::Load { key } => write!(f, "load {key}"),
            Self::LoadFailed { key } => write!(f, "load failed {key}"),
            Self::Fill { key, ttl } => write!(f, "fill {key} ttl={ttl:?}"),
            Self::NotFilled { key, why } => write!(f, "not filled {key}: {why}"),
            Self::Distrust { key } => write!(f, "distrust {key}"),
            Self::OtherType {
                key,
                value,
                cached: Some(cached),
                ..
            } => write!(f, "other type {key}: {value}, not {cached}"),
            Self::OtherType { key, value, .. } => write!(f, "other type {key}: not {value}"),
            Self::Altered { key, error, .. } => write!(f, "altered {key}: {error}"),
            Self::Degrade { key, error } => write!(f, "degrade {key}: {error}"),
            Self::Delete { key, existed: true } => write!(f, "delete {key}"),
            Self::Delete { key, .. } => write!(f, "delete {key}: absent"),
            Self::Invalidate { names } => write!(f, "invalidate {}", Spaced(names)),
            Self::NotInvalidated { names, error } => {
                write!(f, "not invalidated {}: {error}", Spaced(names))
            }
            Self::InvalidateMatching { pattern, entries } => {
                write!(f, "invalidate matching {pattern}: {entries}")
            }
            Self::NotInvalidatedMatching { pattern, error } => {
                write!(f, "not invalidated matching {pattern}: {error}")
            }
            Self::InvalidateLater { names } => write!(f, "invalidate later {}", Spaced(names)),
            Self::OutsideOfCommit { function } => {
                write!(f, "outside of commit {}", function.path)
            }
            Self::Clear => f.write_str("clear"),
            Self::Fence { names } => write!(f, "fence {}", Spaced(names)),
            Self::Unfence { names } => write!(f, "unfence {}", Spaced(names)),
            Self::NotFenced { names, error } => write!(f, "not fenced {}: {error}", Spaced(names)),
            Self::NotUnfenced { names, error } => {
                write!(f, "not unfenced {}: {error}", Spaced(names))
            }
            Self::Fail { error } => write!(f, "fail: {error}"),
            Self::ServerAway { error } => write!(f, "server away: {error}"),
            Self::ServerBack { .. } => f.write_str("server back"),
            Self::ServerRefuses { error } => write!(f, "server refuses: {error}"),
            Self::ServerAccepts { .. } => f.write_str("server accepts"),
            Self::JournalKeeps => f.write_str("journal keeps"),
            Self::JournalEmptied => f.write_str("journal emptied"),
            Self::JournalOverflows { .. } => f.write_str("journal overflows"),
            Self::RepeatsOverflow { .. } => f.write_str("repeats overflow"),
            Self::JournalLost { .. } => f.write_str("journal lost"),
            Self::NotAnnounced { error } => write!(f, "not announced: {error}"),
            Self::AnnouncementUnreadable => f.write_str("announcement unreadable"),
            Self::AnnouncementsUnheard { error } => write!(f, "announcements unheard: {error}"),
            Self::CopiesUnheard { error } => write!(f, "copies unheard: {error}"),
            Self::RepeatLost { count } => write!(f, "repeat lost: {count} names"),
        }
    }
}

impl fmt::Display for NotFilledReason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overtaken => f.write_str("overtaken"),
            Self::NewTags => f.write_str("new tags"),
            Self::Unstorable => f.write_str("unstorable"),
            Self::Superseded => f.write_str("superseded"),
            Self::Unwanted => f.write_str("unwanted"),
            Self::Uncommitted => f.write_str("uncommitted"),
            Self::OtherType => f.write_str("other type"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

/// Names, separated by spaces.
pub(super) struct Spaced<'a>(pub(super) &'a [Key]);

impl fmt::Display for Spaced<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, name) in self.0.iter().enumerate() {
            let gap = if i == 0 { "" } else { " " };
            write!(f, "{gap}{name}")?;
        }
        Ok(())
    }
}
