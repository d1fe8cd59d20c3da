//! The entry of one call of an annotated function, without repeating the function's template.

use std::any::type_name;
use std::fmt;
use std::time::Duration;

use super::Cache;
use crate::call::order::{self, Given, Left, NoCall};
use crate::call::request::Request;
use crate::call::scope;
use crate::error::Error;
use crate::key::Key;
use crate::observe::{Event, NotFilledReason};
use crate::tier::{Found, Store as _};
use crate::value::{AnyValue, CacheValue};

/// The entry of one call of a [`#[cached]`](macro@crate::cached) function: its key, its tags and its
/// cache, without repeating the function's template.
///
/// It is made from the call itself, whose body does not run:
///
/// ```
/// use cache_runtime::{CachedEntry, cached};
///
/// struct Users { tenant: u64 }
///
/// impl Users {
///     #[cached(key = "user:<self.tenant>:<id>", ttl = 60, invalidate_on = "users:<self.tenant>")]
///     async fn find(&self, id: u64) -> Option<String> {
///         Some(format!("user {id}"))
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cache_runtime::Error> {
/// let users = Users { tenant: 3 };
/// let entry = CachedEntry::of(users.find(7))?;
/// assert_eq!(entry.key().as_str(), "user:3:7");
/// assert_eq!(entry.tags(), ["users:3".into()]);
/// assert!(!entry.exists().await?);
///
/// users.find(7).await;
/// assert_eq!(entry.get::<String>().await?.as_deref(), Some("user 7"));
/// entry.invalidate().await?;
/// assert!(!entry.exists().await?);
/// # Ok(()) }
/// ```
///
/// [`refresh`](crate::refresh) and [`prime`] take a call in the same way, and store a value.
///
/// It works for any function that can be annotated: in traits, generic, under `#[async_trait]`, and
/// behind wrappers that await the call at their first poll. Only that call is meant: what such a wrapper
/// calls first is the entry, whatever it returns in the end.
pub struct CachedEntry {
    request: Box<Request>,
    cache: Cache,
    /// Whether the call is of the type of which its function caches values.
    is_cached: bool,
}

impl CachedEntry {
    /// The entry of the call that `future` is.
    ///
    /// The future is polled once, until its first annotated call begins, and is then dropped. So the
    /// arguments are evaluated, and the options that are expressions over them; the body does not run. In
    /// a function that wraps the call, what comes before the call does run, and so does what is polled
    /// beside it, as in a `join!`.
    ///
    /// # Errors
    ///
    /// [`Error::is_call`] if the future makes no annotated call at its first poll, or one whose `condition`
    /// is false; [`Error::is_key`] if its key or a tag is invalid.
    ///
    /// ```
    /// use cache_runtime::CachedEntry;
    ///
    /// async fn not_cached(n: u64) -> u64 { n }
    ///
    /// assert!(CachedEntry::of(not_cached(7)).unwrap_err().is_call());
    /// ```
    pub fn of<F: Future>(future: F) -> Result<Self, Error> {
        let (entry, _) = Self::left(future, None, "CachedEntry::of")?;
        Ok(entry)
    }

    fn left<F: Future>(
        future: F,
        value: Option<AnyValue>,
        asked_by: &str,
    ) -> Result<(Self, Option<Given>), Error> {
        let why = match order::leave(future, value) {
            Ok(Left::Call {
                request,
                given,
                is_cached,
            }) => {
                let core = request.core.clone();
                let entry = Self {
                    request,
                    cache: Cache { core },
                    is_cached,
                };
                entry.key().check()?;
                entry.tags().iter().try_for_each(Key::check)?;
                return Ok((entry, given));
            }
            Ok(Left::Bypass) => {
                return Err(Error::call(format!(
                    "`{asked_by}` was given a call that leaves the cache alone, since its `condition` is false"
                )));
            }
            Ok(Left::Batch) => {
                return Err(Error::call(format!(
                    "`{asked_by}` was given a call for several keys, which has no entry of its own; give it \
                     a call of the function for one key, or use `Cache::set_many`"
                )));
            }
            Err(NoCall::Ended) => "it ends without one",
            Err(NoCall::Waits) => "it waits for something else first",
        };
        Err(Error::call(format!(
            "`{asked_by}` was given a future that is not the call of a `#[cached]` function: {why}; give it the \
             call itself, such as `find(7)`, without `.await`"
        )))
    }

    /// The key of the entry.
    ///
    /// ```
    /// # use cache_runtime::{CachedEntry, cached};
    /// #[cached(key = "square:<n>")]
    /// async fn square(n: u64) -> u64 { n * n }
    ///
    /// assert_eq!(CachedEntry::of(square(7))?.key().as_str(), "square:7");
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    pub fn key(&self) -> &Key {
        &self.request.query.key
    }

    /// The tags that the call's entry has, as far as they are known without its value: not those that a
    /// closure in [`invalidate_on`](macro@crate::cached#invalidate_on) tells.
    ///
    /// ```
    /// # use cache_runtime::{CachedEntry, cached};
    /// #[cached(key = "square:<n>", invalidate_on = ["squares", "of:<n>"])]
    /// async fn square(n: u64) -> u64 { n * n }
    ///
    /// assert_eq!(CachedEntry::of(square(7))?.tags(), ["squares".into(), "of:7".into()]);
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    pub fn tags(&self) -> &[Key] {
        &self.request.query.tags
    }

    /// The cache that the call uses.
    ///
    /// ```
    /// # use cache_runtime::{CachedEntry, cached};
    /// #[cached(key = "square:<n>")]
    /// async fn square(n: u64) -> u64 { n * n }
    ///
    /// let entry = CachedEntry::of(square(7))?;
    /// assert_eq!(entry.cache().stats().loads, 0);
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Returns the value that the call would be served, without running its body; `None` if there is
    /// no such entry, or if it holds a `None`. `T` is what is cached: the `User` of a
    /// `Result<Option<User>, E>`.
    ///
    /// It counts as a hit or a miss of the API by hand, as [`Cache::get`] does.
    ///
    /// # Errors
    ///
    /// As [`Cache::get`].
    ///
    /// ```
    /// # use cache_runtime::{CachedEntry, cached};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// #[cached(key = "square:<n>")]
    /// async fn square(n: u64) -> u64 { n * n }
    ///
    /// let entry = CachedEntry::of(square(7))?;
    /// assert_eq!(entry.get::<u64>().await?, None);
    /// square(7).await;
    /// assert_eq!(entry.get::<u64>().await?, Some(49));
    /// # Ok(()) }
    /// ```
    pub async fn get<T: CacheValue>(&self) -> Result<Option<T>, Error> {
        let found = self.find().await;
        self.cache.read(self.key(), found)
    }

    /// Returns whether there is an entry that the call would be served, be it a `None`. It counts as
    /// neither a hit nor a miss.
    ///
    /// # Errors
    ///
    /// If the cache fails.
    ///
    /// ```
    /// # use cache_runtime::{CachedEntry, cached};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// #[cached(key = "square:<n>")]
    /// async fn square(n: u64) -> u64 { n * n }
    ///
    /// assert!(!CachedEntry::of(square(7))?.exists().await?);
    /// # Ok(()) }
    /// ```
    pub async fn exists(&self) -> Result<bool, Error> {
        let found = self.cache.core.failed(self.find().await)?;
        Ok(found.is_some())
    }

    /// Returns the longest that the entry may still be served, to the millisecond; `None` if there is no
    /// entry that the call would be served.
    ///
    /// # Errors
    ///
    /// If the cache fails.
    ///
    /// ```
    /// # use cache_runtime::{CachedEntry, cached};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// use std::time::Duration;
    ///
    /// #[cached(key = "square:<n>", ttl = 60)]
    /// async fn square(n: u64) -> u64 { n * n }
    ///
    /// square(7).await;
    /// let left = CachedEntry::of(square(7))?.ttl().await?;
    /// assert!(left.is_some_and(|left| left <= Duration::from_secs(60)));
    /// # Ok(()) }
    /// ```
    pub async fn ttl(&self) -> Result<Option<Duration>, Error> {
        let core = &self.cache.core;
        let Some(found) = core.failed(self.find().await)? else {
            return Ok(None);
        };
        core.failed(core.tier.remaining(self.key(), &found).await)
    }

    /// Invalidates the key of the entry, as [`Cache::invalidate`] does: also what is loaded meanwhile.
    /// Tags of the entry are left alone; they are in [`tags`](Self::tags).
    ///
    /// # Errors
    ///
    /// As [`Cache::invalidate`].
    ///
    /// # Cancellation
    ///
    /// As [`Cache::invalidate`].
    ///
    /// ```
    /// # use cache_runtime::{CachedEntry, cached};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// #[cached(key = "square:<n>")]
    /// async fn square(n: u64) -> u64 { n * n }
    ///
    /// square(7).await;
    /// let entry = CachedEntry::of(square(7))?;
    /// entry.invalidate().await?;
    /// assert!(!entry.exists().await?);
    /// # Ok(()) }
    /// ```
    pub async fn invalidate(&self) -> Result<(), Error> {
        self.cache.invalidate([self.key().clone()]).await
    }

    /// The entry, if the call would be served it.
    async fn find(&self) -> Result<Option<Found>, Error> {
        let query = &self.request.query;
        let found = match self.cache.core.tier.kept_here(query) {
            Some(entry) if !scope::is_uncommitted() => Some(Found::Value(entry)),
            _ => self.cache.look_up(self.key()).await?,
        };
        Ok(found.filter(|found| self.is_served(found)))
    }

    /// Whether the call is served such an entry.
    pub(super) fn is_served(&self, found: &Found) -> bool {
        self.is_cached && found.suits(&self.request.query)
    }
}

impl fmt::Debug for CachedEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedEntry")
            .field("key", self.key())
            .field("tags", &self.tags())
            .finish_non_exhaustive()
    }
}

/// Stores a value as a [`#[cached]`](macro@crate::cached) function would if its body yielded it, and does
/// not run the body: under the call's key, with its tags, ttl, codec and schema version.
///
/// `value` is what the function caches: of a `Result<Option<User>, E>`, a `User` or an `Option<User>`. An
/// error can't be cached, and is no value.
///
/// ```
/// use cache_runtime::{cached, prime};
///
/// #[cached(key = "user:<id>", ttl = 60, none_ttl = 5, invalidate_on = "users")]
/// async fn find(id: u64) -> Result<Option<String>, std::io::Error> {
///     panic!("user {id} is asked for")
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // A query for many users, for example.
/// for (id, name) in [(1, "Ada"), (2, "Grace")] {
///     prime(find(id), name.to_owned()).await?;
/// }
/// prime(find(3), None::<String>).await?;
///
/// assert_eq!(find(1).await?.as_deref(), Some("Ada"));
/// assert_eq!(find(3).await?, None);
/// # Ok(()) }
/// ```
///
/// Give it the call itself. Of a future that makes several calls, such as
/// `async { find(1).await + find(2).await }`, the first is primed, with the value for the sum.
///
/// The value may be older than an invalidation: one that comes between reading the data and this call has
/// no effect on it. An invalidation that begins after this call has ended, also with an error, removes the
/// value, and so may one that comes meanwhile. To load, store and be safe from that, call the function.
///
/// A value that the function does not cache (`unless`, a ttl of zero, a `None` without `none_ttl`) is
/// not stored here either, and removes the entry that is there: it is older. Nor is one of
/// [another type](macro@crate::cached#types) than the first, which leaves the entry alone. Where the value
/// tells tags, it is stored with those that this value tells. Behind a
/// [fence](macro@crate::cache_invalidate#fence) and within [`after_commit`](crate::after_commit), this
/// does what [`Cache::set`] does.
///
/// # Errors
///
/// [`Error::is_call`] as [`CachedEntry::of`], or if the call behind a wrapper caches values of another
/// type; [`Error::is_key`] if its key or a tag is invalid; [`Error::is_codec`] if the value tells too many
/// tags; as [`Cache::set`] if the cache fails, or the value cannot be encoded.
///
/// # Cancellation
///
/// If this future is dropped, the value may or may not be stored.
///
/// # Concurrent calls
///
/// A load of the key that is under way, a refresh too, does not store over the value.
pub async fn prime<F, T>(future: F, value: T) -> Result<(), Error>
where
    F: Future<Output: Yields<T>>,
    T: Send + 'static,
{
    let (entry, given) = CachedEntry::left(future, Some(Box::new(value)), "prime")?;
    match given {
        Some(Given::Value { value, ttl, tags }) => {
            let CachedEntry { request, cache, .. } = &entry;
            let codec = request.codec();
            let query = &request.query;
            cache.store(query, &*value, &tags, codec, ttl).await
        }
        Some(Given::Failed(error)) => Err(error),
        Some(Given::OtherType(cached)) => Err(Error::call(format!(
            "`prime` was given a `{}` for `{}`, whose function caches a `{cached}`; give it the call \
             itself, and a value of that type",
            type_name::<T>(),
            entry.key().as_str(),
        ))),
        Some(Given::Nothing) => {
            let why = NotFilledReason::OtherType;
            let (key, observer) = (entry.key(), &entry.cache.core.observer);
            observer.observe(entry.request.query.site, Event::NotFilled { key, why });
            Ok(())
        }
        None => unreachable!("the call was given a value"),
    }
}

/// What a function returns, with a type of what is cached of it: [`prime`] takes such a value.
///
/// ```
/// use cache_runtime::Yields;
///
/// fn may_be_primed<R: Yields<T>, T>() {}
/// may_be_primed::<u8, u8>();
/// may_be_primed::<Option<u8>, u8>();
/// may_be_primed::<Result<u8, String>, u8>();
/// may_be_primed::<Result<Option<u8>, String>, u8>();
/// may_be_primed::<Result<Option<u8>, String>, Option<u8>>();
/// ```
#[diagnostic::on_unimplemented(
    message = "a function that returns `{Self}` does not cache a `{T}`",
    label = "the value is of another type",
    note = "`prime` takes what is cached: of a `Result<Option<User>, E>`, a `User` or an `Option<User>`"
)]
pub trait Yields<T> {}

#[diagnostic::do_not_recommend]
impl<T> Yields<T> for T {}
#[diagnostic::do_not_recommend]
impl<T> Yields<T> for Option<T> {}
#[diagnostic::do_not_recommend]
impl<T, E> Yields<T> for Result<T, E> {}
#[diagnostic::do_not_recommend]
impl<T, E> Yields<T> for Result<Option<T>, E> {}
