//! Texts by key: sessions, tokens, counters.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::memory::Place;
use super::verb::{self, is_one};
use crate::Cache;
use crate::clock;
use crate::core::Core;
use crate::driver::Reply;
use crate::error::Error;
use crate::tier::Room;

const GET: &str = "return redis.call('GET', KEYS[1])";
const SET: &str = include_str!("scripts/set.lua");
const TAKE: &str = include_str!("scripts/take.lua");
const INCREMENT: &str = include_str!("scripts/increment.lua");
const DELETE_IF: &str = include_str!("scripts/delete_if.lua");
const TTL: &str = "return redis.call('PTTL', KEYS[1])";
const EXPIRE: &str = "return redis.call('PEXPIRE', KEYS[1], ARGV[1])";

/// Texts by key, from [`Cache::strings`]: the storage that libraries for authentication and sessions ask
/// for. Clones are the same store.
///
/// A text is no cache entry. What [`get`](Self::get) returns is what was set last, by any process on the same
/// server, and a failure is an error. On a server that evicts, a text may be evicted, as its
/// `maxmemory-policy` says; with `volatile-lru`, only those with a ttl. In process, texts are kept
/// until their ttl ends, or the program does.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
/// use std::time::Duration;
/// use cache_runtime::Cache;
///
/// let cache = Cache::builder().url("memory:").build()?;
/// // `None` where the cache is off: leave the option of the other library out then.
/// let sessions = cache.strings("sessions").expect("the cache is on");
/// let week = Duration::from_secs(7 * 24 * 60 * 60);
/// sessions.set("8f14e45f", r#"{"user":42}"#, week).await?;
/// assert_eq!(sessions.get("8f14e45f").await?.as_deref(), Some(r#"{"user":42}"#));
/// # Ok(()) }
/// ```
///
/// # Cancellation
///
/// Each of its futures may be dropped. What it was to change may then be changed, or not.
#[derive(Clone)]
pub struct Strings {
    core: Arc<Core>,
    store: String,
    /// What a text is called in errors, where its key is a secret.
    called: Option<&'static str>,
}

/// When a text is stored.
#[derive(Clone, Copy)]
enum When<'a> {
    Always,
    Absent,
    Present,
    Is(&'a str),
}

impl Cache {
    /// The texts of one store, such as `auth` or `sessions`. `None` if the cache is [off](crate::CacheBuilder::url).
    /// Stores of other names are other stores, and so are those of other
    /// [namespaces](crate::CacheBuilder::namespace).
    ///
    /// On a server, a text lies at `<namespace>:s:<store>:<key>`. In the name of a store, `%` and `:` are
    /// written as `%25` and `%3A`.
    ///
    /// ```
    /// # fn main() -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::Cache;
    ///
    /// assert!(Cache::builder().url("memory:").build()?.strings("auth").is_some());
    /// assert!(Cache::builder().url("off:").build()?.strings("auth").is_none());
    /// # Ok(()) }
    /// ```
    pub fn strings(&self, store: &str) -> Option<Strings> {
        let is_on = !matches!(self.core().tier.room(), Room::None);
        is_on.then(|| Strings {
            core: self.core().clone(),
            store: super::escaped(store),
            called: None,
        })
    }
}

/// What [`Strings`] takes as a ttl: a `Duration`, or `None` for a text that stays until it is deleted.
///
/// ```
/// use std::time::Duration;
/// use cache_runtime::OptionalTtl;
///
/// fn ttl(ttl: impl OptionalTtl) -> Option<Duration> {
///     ttl.into()
/// }
/// assert_eq!(ttl(Duration::from_secs(60)), Some(Duration::from_secs(60)));
/// assert_eq!(ttl(None), None);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a ttl",
    label = "expected a `Duration`, or `None`",
    note = "write `Duration::from_secs(60)`, or `None` for a text that stays until it is deleted"
)]
pub trait OptionalTtl: Into<Option<Duration>> {}

#[diagnostic::do_not_recommend]
impl<T: Into<Option<Duration>>> OptionalTtl for T {}

impl Strings {
    /// Returns the text under `key`, or `None`.
    ///
    /// # Errors
    ///
    /// If the server fails, as for all methods here, or what is stored is no text ([`Error::is_codec`]).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let tokens = cache.strings("tokens").expect("the cache is on");
    /// assert_eq!(tokens.get("reset").await?, None);
    /// # Ok(()) }
    /// ```
    pub async fn get(&self, key: &str) -> Result<Option<String>, Error> {
        let here = |place: &mut Place<'_>| Ok(place.text().map(str::to_owned));
        self.run(key, here, GET, &[], |reply| text(self.called(key), reply))
            .await
    }

    /// Stores a text, in the place of any other. `ttl` is a `Duration`, to the millisecond, or `None`: then
    /// the text is kept until it is removed. A ttl of zero removes it.
    ///
    /// # Errors
    ///
    /// If the server fails. The text may be stored then.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// use std::time::Duration;
    ///
    /// let tokens = cache.strings("tokens").expect("the cache is on");
    /// tokens.set("reset", "8f14e45f", Duration::from_secs(600)).await?;
    /// tokens.set("reset", "8f14e45f", Duration::ZERO).await?;
    /// assert_eq!(tokens.get("reset").await?, None);
    /// # Ok(()) }
    /// ```
    pub async fn set(&self, key: &str, text: &str, ttl: impl OptionalTtl) -> Result<(), Error> {
        self.set_when(When::Always, key, text, ttl.into())
            .await
            .map(drop)
    }

    /// Stores a text if there is none, and returns whether it did.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let jobs = cache.strings("jobs").expect("the cache is on");
    /// assert!(jobs.set_if_absent("import", "first", None).await?);
    /// assert!(!jobs.set_if_absent("import", "second", None).await?);
    /// # Ok(()) }
    /// ```
    pub async fn set_if_absent(
        &self,
        key: &str,
        text: &str,
        ttl: impl OptionalTtl,
    ) -> Result<bool, Error> {
        self.set_when(When::Absent, key, text, ttl.into()).await
    }

    /// Stores a text in the place of another one, and returns whether it did. So the session of a user who
    /// has logged out does not come back when a request that began before saves it.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let sessions = cache.strings("sessions").expect("the cache is on");
    /// sessions.set("8f14e45f", "Ada", None).await?;
    /// sessions.delete("8f14e45f").await?;
    /// assert!(!sessions.set_if_present("8f14e45f", "Ada, later", None).await?);
    /// assert_eq!(sessions.get("8f14e45f").await?, None);
    /// # Ok(()) }
    /// ```
    pub async fn set_if_present(
        &self,
        key: &str,
        text: &str,
        ttl: impl OptionalTtl,
    ) -> Result<bool, Error> {
        self.set_when(When::Present, key, text, ttl.into()).await
    }

    /// Stores a text in the place of `expected`, and returns whether that was there.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let steps = cache.strings("steps").expect("the cache is on");
    /// steps.set("order:7", "paid", None).await?;
    /// assert!(steps.compare_and_set("order:7", "paid", "sent", None).await?);
    /// assert!(!steps.compare_and_set("order:7", "paid", "sent", None).await?);
    /// # Ok(()) }
    /// ```
    pub async fn compare_and_set(
        &self,
        key: &str,
        expected: &str,
        text: &str,
        ttl: impl OptionalTtl,
    ) -> Result<bool, Error> {
        self.set_when(When::Is(expected), key, text, ttl.into())
            .await
    }

    /// Removes the text under `key`, and returns it: of several callers, one gets it.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get). If the server fails, the text may be gone.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let tokens = cache.strings("tokens").expect("the cache is on");
    /// tokens.set("reset", "8f14e45f", None).await?;
    /// assert_eq!(tokens.take("reset").await?.as_deref(), Some("8f14e45f"));
    /// assert_eq!(tokens.take("reset").await?, None);
    /// # Ok(()) }
    /// ```
    pub async fn take(&self, key: &str) -> Result<Option<String>, Error> {
        let here = |place: &mut Place<'_>| Ok(place.take());
        self.run(key, here, TAKE, &[], |reply| text(self.called(key), reply))
            .await
    }

    /// Removes the text under `key`, and returns whether there was one.
    ///
    /// # Errors
    ///
    /// If the server fails. The text may be gone then.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let tokens = cache.strings("tokens").expect("the cache is on");
    /// assert!(!tokens.delete("reset").await?);
    /// # Ok(()) }
    /// ```
    pub async fn delete(&self, key: &str) -> Result<bool, Error> {
        let here = |place: &mut Place<'_>| Ok(place.take().is_some());
        self.run(key, here, super::UNLINK, &[], |reply| Ok(is_one(&reply)))
            .await
    }

    /// Removes the text under `key` if it is `expected`, and returns whether it did. So what another caller has
    /// set in its place meanwhile stays.
    ///
    /// # Errors
    ///
    /// As [`delete`](Self::delete).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// let jobs = cache.strings("jobs").expect("the cache is on");
    /// jobs.set("import", "worker 1", None).await?;
    /// assert!(!jobs.compare_and_delete("import", "worker 2").await?);
    /// assert!(jobs.compare_and_delete("import", "worker 1").await?);
    /// # Ok(()) }
    /// ```
    pub async fn compare_and_delete(&self, key: &str, expected: &str) -> Result<bool, Error> {
        let here = |place: &mut Place<'_>| {
            let is_expected = place.text() == Some(expected);
            Ok(is_expected && place.take().is_some())
        };
        let arguments = [expected.to_owned()];
        let is_gone = |reply| Ok(is_one(&reply));
        self.run(key, here, DELETE_IF, &arguments, is_gone).await
    }

    /// Adds to the number under `key`, 0 if there is none, and returns the sum. A number without a ttl gets
    /// this one: in the same step, so that no counter is left without its ttl. One that has a ttl keeps it.
    ///
    /// # Errors
    ///
    /// * If what is stored is no whole number, or the sum does not fit into 64 bits
    ///   ([`Error::is_codec`]). It stays as it is.
    /// * If the server fails. It may have counted then.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// use std::time::Duration;
    ///
    /// let attempts = cache.strings("attempts").expect("the cache is on");
    /// let day = Duration::from_secs(24 * 60 * 60);
    /// assert_eq!(attempts.increment("ada", 1, day).await?, 1);
    /// assert_eq!(attempts.increment("ada", 1, day).await?, 2);
    /// # Ok(()) }
    /// ```
    pub async fn increment(&self, key: &str, by: i64, ttl: impl OptionalTtl) -> Result<i64, Error> {
        let ttl = ttl.into();
        let key_in_errors = self.called(key);
        let here = |place: &mut Place<'_>| add(key_in_errors, place, by, ttl);
        let arguments = [by.to_string(), millis(ttl)];
        let counted = |reply| match reply {
            Reply::List(words) => {
                let words = words.into_iter().next().and_then(Reply::bytes);
                let words = String::from_utf8_lossy(&words.unwrap_or_default()).into_owned();
                Err(Error::codec(key_in_errors, "added to", &words))
            }
            reply => {
                let number = text(key_in_errors, reply)?.unwrap_or_default();
                let read = number.parse::<i64>();
                read.map_err(|error| Error::codec(key_in_errors, "added to", &error))
            }
        };
        self.run(key, here, INCREMENT, &arguments, counted).await
    }

    /// How long the text under `key` is still kept, to the millisecond; `None` if there is none, or if it has
    /// no end.
    ///
    /// # Errors
    ///
    /// If the server fails.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// use std::time::Duration;
    ///
    /// let tokens = cache.strings("tokens").expect("the cache is on");
    /// tokens.set("reset", "8f14e45f", Duration::from_secs(600)).await?;
    /// assert!(tokens.ttl("reset").await?.unwrap() > Duration::from_secs(590));
    /// # Ok(()) }
    /// ```
    pub async fn ttl(&self, key: &str) -> Result<Option<Duration>, Error> {
        let here = |place: &mut Place<'_>| Ok(place.ttl());
        let left = |reply| match reply {
            Reply::Number(left) => Ok(u64::try_from(left).ok().map(Duration::from_millis)),
            _ => Ok(None),
        };
        self.run(key, here, TTL, &[], left).await
    }

    /// Sets how long the text under `key` is kept from now on, and returns whether there is one: for
    /// sessions that end some time after their last use. A ttl of zero removes it.
    ///
    /// # Errors
    ///
    /// If the server fails.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// # let cache = cache_runtime::Cache::builder().url("memory:").build()?;
    /// use std::time::Duration;
    ///
    /// let sessions = cache.strings("sessions").expect("the cache is on");
    /// sessions.set("8f14e45f", "Ada", None).await?;
    /// assert!(sessions.expire("8f14e45f", Duration::from_secs(1800)).await?);
    /// # Ok(()) }
    /// ```
    pub async fn expire(&self, key: &str, ttl: Duration) -> Result<bool, Error> {
        let here = |place: &mut Place<'_>| Ok(place.expire(ttl));
        let arguments = [millis(Some(ttl))];
        self.run(key, here, EXPIRE, &arguments, |reply| Ok(is_one(&reply)))
            .await
    }

    async fn set_when(
        &self,
        when: When<'_>,
        key: &str,
        text: &str,
        ttl: Option<Duration>,
    ) -> Result<bool, Error> {
        let here = |place: &mut Place<'_>| Ok(when.set(place, text, ttl));
        let (condition, expected) = when.words();
        let arguments = [text, &millis(ttl), condition, expected].map(str::to_owned);
        self.run(key, here, SET, &arguments, |reply| Ok(is_one(&reply)))
            .await
    }

    /// The same store, in whose errors no key is.
    #[cfg(feature = "__tower-sessions")]
    pub(super) fn with_secret_keys(mut self, called: &'static str) -> Self {
        self.called = Some(called);
        self
    }

    /// What the text under a key is called in errors.
    fn called<'a>(&self, key: &'a str) -> &'a str {
        self.called.unwrap_or(key)
    }

    /// Runs a verb where the store is: a function on one place in this process, or a script on one key of a
    /// server.
    async fn run<R>(
        &self,
        key: &str,
        here: impl FnOnce(&mut Place<'_>) -> Result<R, Error>,
        script: &'static str,
        arguments: &[String],
        there: impl FnOnce(Reply) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let place = format!("s:{}:{key}", self.store);
        let arguments = arguments.iter().cloned().map(Into::into).collect();
        let off = "the cache is off, so it has no texts";
        let core = &self.core;
        core.failed(verb::run(core, &place, here, script, arguments, there, off).await)
    }
}

impl When<'_> {
    /// In the process.
    fn set(self, place: &mut Place<'_>, text: &str, ttl: Option<Duration>) -> bool {
        let held = place.text();
        let may = match self {
            Self::Always => true,
            Self::Absent => held.is_none(),
            Self::Present => held.is_some(),
            Self::Is(expected) => held == Some(expected),
        };
        if may && ttl == Some(Duration::ZERO) {
            place.take();
        } else if may {
            place.set(text, ttl);
        }
        may
    }

    /// As the script is told it.
    fn words(&self) -> (&'static str, &str) {
        match self {
            Self::Always => ("", ""),
            Self::Absent => ("NX", ""),
            Self::Present => ("XX", ""),
            Self::Is(expected) => ("IS", expected),
        }
    }
}

/// In the process, by the rules of `INCRBY`.
fn add(key: &str, place: &mut Place<'_>, by: i64, ttl: Option<Duration>) -> Result<i64, Error> {
    let text = place.text().unwrap_or("0");
    let number = text.parse::<i64>();
    let number = number.map_err(|error| Error::codec(key, "added to", &error))?;
    // Servers add to no number that is written otherwise, as `+5` and `007` are.
    if number.to_string() != text {
        return Err(Error::codec(key, "added to", &"it is no integer"));
    }
    let sum = number
        .checked_add(by)
        .ok_or_else(|| Error::codec(key, "added to", &"the sum does not fit into 64 bits"))?;
    place.replace(sum.to_string(), ttl);
    Ok(sum)
}

/// A ttl for a script: at least a millisecond, unless it is zero.
fn millis(ttl: Option<Duration>) -> String {
    match ttl {
        None => String::new(),
        Some(Duration::ZERO) => "0".to_owned(),
        Some(ttl) => clock::millis(ttl.min(clock::FOREVER)).max(1).to_string(),
    }
}

fn text(key: &str, reply: Reply) -> Result<Option<String>, Error> {
    let Some(bytes) = reply.bytes() else {
        return Ok(None);
    };
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|error| Error::codec(key, "read", &error))
}

impl fmt::Debug for Strings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Strings")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
