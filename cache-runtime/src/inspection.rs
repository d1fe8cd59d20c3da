//! What is stored under a name, and whether it would be served, as text and numbers. And what the
//! servers of a cache are found to be.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::health::Status;

/// What is stored under a name, from [`Cache::inspect`](crate::Cache::inspect).
///
/// It is serialized with durations as numbers of seconds (`age_seconds`), and may be shown as it is: no part of it is a secret of
/// a URL. The value itself may be one.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
/// use cache_runtime::{Cache, Holds, Options};
///
/// let cache = Cache::builder().url("memory:").build()?;
/// cache.set("user:42", &"Ada".to_owned(), Options::new().tag("users")).await?;
///
/// let it = cache.inspect("user:42").await?;
/// assert_eq!(it.holds, Holds::Entry);
/// assert!(it.would_be_served);
///
/// cache.invalidate(["users"]).await?;
/// let it = cache.inspect("user:42").await?;
/// assert!(!it.would_be_served);
/// assert_eq!(it.why, "It would not be served: the tag `users` was invalidated after it was loaded.");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Inspection {
    /// The name that was asked for.
    pub name: String,
    /// What stands under it as a key.
    pub holds: Holds,
    /// Whether a call that has the entry's tags, schema version and type would be served it now.
    pub would_be_served: bool,
    /// Why it would be served, or why not: a sentence.
    pub why: String,
    /// The entry, if there is one, also if it would not be served.
    pub entry: Option<StoredEntry>,
    /// What stands under the name as a tag; `None` where that is not known.
    pub as_tag: Option<TagVersion>,
    /// The mark of a load that failed a moment ago, of a function whose old values may be served
    /// meanwhile. Until it ends, the load is not tried again.
    pub failed: Option<FailedLoad>,
}

/// What stands under a name.
///
/// ```
/// assert_eq!(serde_json::to_value(cache_runtime::Holds::Lease).unwrap(), "lease");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Holds {
    /// Nothing.
    Nothing,
    /// An entry, whether it would be served or not.
    Entry,
    /// A lease: a call loads, in this process or another.
    Lease,
    /// A fence: writers are changing the data, and nothing is stored until they are done.
    Fence,
    /// Bytes that are none of these, such as those of a later release.
    Unreadable,
}

/// An entry, as [`Inspection`] shows it.
///
/// ```
/// # fn show(entry: &cache_runtime::StoredEntry) {
/// for tag in &entry.tags {
///     println!("{}: {} when it was loaded, {:?} now", tag.name, tag.stored, tag.now);
/// }
/// # }
/// ```
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct StoredEntry {
    /// The value, as far as it can be shown.
    pub value: ShownValue,
    /// How many bytes its payload takes, compressed if it is; `None` in this process, where it is a Rust
    /// value.
    pub size: Option<usize>,
    /// How long ago it was stored, by the server's clock. `None` in this process, for a function without
    /// options such as [`stale_while_revalidate`](macro@crate::cached#stale_while_revalidate).
    #[serde(rename = "age_seconds", serialize_with = "seconds")]
    pub age: Option<Duration>,
    /// How long it is still fresh; zero if its ttl has ended. `None` if its ttl is not known: it
    /// lives for ever, or has just gone.
    #[serde(rename = "remaining_seconds", serialize_with = "seconds")]
    pub remaining: Option<Duration>,
    /// How long its load took. `None` where it is not known.
    #[serde(rename = "load_seconds", serialize_with = "seconds")]
    pub load: Option<Duration>,
    /// Its tags.
    pub tags: Vec<StoredTag>,
    /// Its schema version: `version = …` of its function; 0 without one.
    pub schema: u32,
    /// The type of its value, if a function of this program caches values of that type. `None` for a value
    /// that was set by hand.
    pub value_type: Option<String>,
}

/// A tag of an entry.
///
/// ```
/// # fn show(tag: &cache_runtime::StoredTag) {
/// println!("{} is valid: {}", tag.name, tag.is_valid);
/// # }
/// ```
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct StoredTag {
    /// Its name, as servers know it.
    pub name: String,
    /// Its version before the entry's load began. As text: it may have more digits than a number in JSON
    /// is read with.
    #[serde(serialize_with = "as_text")]
    pub stored: u64,
    /// Its version now.
    pub now: TagVersion,
    /// Whether the two are the same.
    pub is_valid: bool,
}

/// What stands under a tag.
///
/// It is serialized as a `state` (`version`, `fence` or `absent`) and, of a version, its `number` as text.
///
/// ```
/// let json = serde_json::to_value(cache_runtime::TagVersion::Number(7)).unwrap();
/// assert_eq!(json, serde_json::json!({ "state": "version", "number": "7" }));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "number", rename_all = "snake_case")]
#[non_exhaustive]
pub enum TagVersion {
    /// A version.
    #[serde(rename = "version", serialize_with = "as_text")]
    Number(u64),
    /// A fence: writers are changing the data behind the tag.
    Fence,
    /// Nothing: no entry with this tag is valid.
    Absent,
}

/// The value of an entry, as far as it can be shown.
///
/// It is serialized with a `form`: `json`, `bytes`, `none` or `hidden`.
///
/// ```
/// # fn show(value: &cache_runtime::ShownValue) {
/// use cache_runtime::ShownValue;
///
/// match value {
///     ShownValue::Json { text, .. } => println!("{text}"),
///     ShownValue::Bytes { preview, why, .. } => println!("{preview} ({why})"),
///     other => println!("{other:?}"),
/// }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "form", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ShownValue {
    /// JSON, on several lines.
    Json {
        /// The text. Its numbers have the digits that are stored.
        text: String,
        /// How it is stored: `JSON`, `MessagePack`, or `a Rust value`.
        stored_as: String,
    },
    /// Bytes that do not describe themselves.
    Bytes {
        /// The first 256 bytes, in hexadecimal.
        preview: String,
        /// How many bytes there are, decompressed.
        length: usize,
        /// Why nothing better can be shown.
        why: String,
    },
    /// What is cached is a `None`.
    None,
    /// It cannot be shown.
    Hidden {
        /// Why, and what to do.
        why: String,
    },
}

/// A load that failed a moment ago.
///
/// ```
/// # fn show(failed: &cache_runtime::FailedLoad) {
/// println!("the load is tried again in {:?}", failed.again_in);
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FailedLoad {
    /// When it is tried again; `None` where that is not known.
    #[serde(rename = "again_in_seconds", serialize_with = "seconds")]
    pub again_in: Option<Duration>,
    /// Whether the old value is served in the place of the error.
    pub is_excused: bool,
}

/// Where a cache keeps its entries, and what that is found to be: from
/// [`Cache::servers`](crate::Cache::servers).
///
/// ```
/// use cache_runtime::{Cache, StoreKind};
///
/// let servers = Cache::builder().url("memory:").build()?.servers();
/// assert_eq!(servers.store, StoreKind::InProcess);
/// assert!(servers.nodes.is_empty());
/// # Ok::<_, cache_runtime::Error>(())
/// ```
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct StoreState {
    /// What kind of store it is.
    pub store: StoreKind,
    /// What was found of it as a whole: of a cluster, the worst of its nodes.
    pub status: Status,
    /// Its servers: the only one, or the primaries of a cluster that are known by now.
    pub nodes: Vec<ServerState>,
    /// How many names wait in the journal: their invalidation failed, and is repeated.
    pub journal: usize,
    /// How many names wait for the second invalidation after an update of unknown outcome.
    pub unsettled: usize,
    /// Whether more names wait than there is room for.
    pub overflowed: bool,
    /// Around how many names fences stand. `None` on a server, where only a scan would tell.
    pub fences: Option<usize>,
    /// How many refreshes are under way in this process.
    pub refreshes: usize,
}

/// What kind of store a cache has.
///
/// ```
/// assert_eq!(cache_runtime::StoreKind::InProcess.to_string(), "in the process");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StoreKind {
    /// None: the cache is off, and each call loads.
    Off,
    /// The memory of this process.
    InProcess,
    /// One server.
    Server,
    /// The primaries of a cluster.
    Cluster,
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::InProcess => "in the process",
            Self::Server => "a server",
            Self::Cluster => "a cluster",
        })
    }
}

/// One server, as the last requests to it found it.
///
/// ```
/// # fn show(server: &cache_runtime::ServerState) {
/// println!("{}: the breaker is {:?}, and it is {}", server.address, server.breaker, server.status);
/// # }
/// ```
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ServerState {
    /// Where it is, without credentials.
    pub address: String,
    /// How it is spoken to: `redis` or `upstash`.
    pub driver: &'static str,
    /// Whether requests may use the network.
    pub breaker: BreakerState,
    /// What its last requests found.
    pub status: Status,
}

/// Whether requests to a server may use the network.
///
/// ```
/// assert_eq!(serde_json::to_value(cache_runtime::BreakerState::Open).unwrap(), "open");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BreakerState {
    /// They may, and there is no connection yet.
    Idle,
    /// They may.
    Closed,
    /// They may not: the server went away, and a task tries to connect again.
    Open,
}

/// Whether an entry would be served, and if not, the first reason that was found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    Served(Option<Duration>),
    Off,
    Nothing,
    Expired,
    Fenced,
    FencedTag(String),
    LoadsHere,
    LoadsElsewhere,
    DeadLease,
    Past { by: Duration },
    Invalidated(String),
    LostTag(String),
    OtherServer,
    Waits(String),
    OnlyRemembers,
    OtherName,
    Unreadable,
}

impl Verdict {
    pub(crate) fn is_served(&self) -> bool {
        matches!(self, Self::Served(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Served(Some(left)) => {
                write!(f, "It would be served: it is valid, and fresh for another {}.", Rough(*left))
            }
            Self::Served(None) => f.write_str("It would be served: it is valid."),
            Self::Off => f.write_str("Nothing is stored: this cache is off, and each call loads."),
            Self::Nothing => f.write_str("There is no entry under this name: a call would load."),
            Self::Expired => f.write_str("It would not be served: its ttl has ended."),
            Self::Fenced => f.write_str(
                "It would not be served: a writer's fence stands around this name, and nothing is stored \
                 until it ends.",
            ),
            Self::FencedTag(tag) => write!(
                f,
                "It would not be served: a writer's fence stands around the tag `{tag}`, and nothing is \
                 stored until it ends."
            ),
            Self::LoadsHere => {
                f.write_str("There is no entry yet: a call of this process is loading it.")
            }
            Self::LoadsElsewhere => {
                f.write_str("There is no entry yet: a call of another process is loading it.")
            }
            Self::DeadLease => f.write_str(
                "There is no entry: a load took its lease through another server, and stores nothing here.",
            ),
            Self::Past { by } => write!(
                f,
                "It would not be served by itself: its ttl ended {} ago. It is kept because its function may \
                 serve it while it is refreshed, or in the place of an error.",
                Rough(*by)
            ),
            Self::Invalidated(tag) => write!(
                f,
                "It would not be served: the tag `{tag}` was invalidated after it was loaded."
            ),
            Self::LostTag(tag) => write!(
                f,
                "It would not be served: the server has lost the version of the tag `{tag}`, so nothing \
                 shows whether it was invalidated meanwhile."
            ),
            Self::OtherServer => f.write_str(
                "It would not be served: it was written through another server, or before this one was \
                 restarted, so nothing shows that no invalidation was lost.",
            ),
            Self::Waits(name) => write!(
                f,
                "It would not be served: the invalidation of `{name}` waits in the journal of this process, \
                 since the server has not carried it out."
            ),
            Self::OnlyRemembers => f.write_str(
                "There is no value: it only notes which tags the last value had, for the next load.",
            ),
            Self::OtherName => f.write_str(
                "There is no entry under this name: another long name has the same place on the server.",
            ),
            Self::Unreadable => f.write_str(
                "It would not be served: its bytes are those of another release or program. The next call \
                 replaces it.",
            ),
        }
    }
}

/// A duration, as exactly as a sentence needs it.
struct Rough(Duration);

impl fmt::Display for Rough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0 => write!(f, "{} ms", self.0.as_millis()),
            1..120 => write!(f, "{seconds} s"),
            120..7200 => write!(f, "{} min", seconds / 60),
            7200..172_800 => write!(f, "{} h", seconds / 3600),
            _ => write!(f, "{} days", seconds / 86_400),
        }
    }
}

impl Inspection {
    /// What a store that keeps nothing under a name shows.
    pub(crate) fn without_entry(name: &str, holds: Holds, verdict: &Verdict) -> Self {
        Self {
            name: name.to_owned(),
            holds,
            would_be_served: verdict.is_served(),
            why: verdict.to_string(),
            entry: None,
            as_tag: None,
            failed: None,
        }
    }
}

impl StoreState {
    /// A store in this process, or none.
    pub(crate) fn without_server(store: StoreKind, fences: usize) -> Self {
        Self {
            store,
            status: Status::Working,
            nodes: Vec::new(),
            journal: 0,
            unsettled: 0,
            overflowed: false,
            fences: Some(fences),
            refreshes: 0,
        }
    }
}

#[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
fn seconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serializer.serialize_some(&duration.as_secs_f64()),
        None => serializer.serialize_none(),
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde gives a reference to the field"
)]
fn as_text<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verdict_is_a_sentence_and_only_one_serves() {
        let name = || "users".to_owned();
        let second = Duration::from_secs(3);
        let all = [
            Verdict::Served(Some(second)),
            Verdict::Served(None),
            Verdict::Off,
            Verdict::Nothing,
            Verdict::Expired,
            Verdict::Fenced,
            Verdict::FencedTag(name()),
            Verdict::LoadsHere,
            Verdict::LoadsElsewhere,
            Verdict::DeadLease,
            Verdict::Past { by: second },
            Verdict::Invalidated(name()),
            Verdict::LostTag(name()),
            Verdict::OtherServer,
            Verdict::Waits(name()),
            Verdict::OnlyRemembers,
            Verdict::OtherName,
            Verdict::Unreadable,
        ];
        for verdict in &all {
            let text = verdict.to_string();
            assert!(
                text.ends_with('.') && text.starts_with(char::is_uppercase),
                "{text}"
            );
            assert_eq!(
                verdict.is_served(),
                text.starts_with("It would be served"),
                "{text}"
            );
        }
        assert!(all[10].to_string().contains("ended 3 s ago"));
    }

    #[test]
    fn durations_are_rounded_to_what_a_sentence_needs() {
        let rough = |seconds: f64| Rough(Duration::from_secs_f64(seconds)).to_string();
        assert_eq!(rough(0.25), "250 ms");
        assert_eq!(rough(119.9), "119 s");
        assert_eq!(rough(3600.0), "60 min");
        assert_eq!(rough(7200.0), "2 h");
        assert_eq!(rough(864_000.0), "10 days");
    }
}
