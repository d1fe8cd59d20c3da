//! Several names at once, as the API by hand takes them.

use super::Key;

/// Several keys or tags: anything that can be iterated over, and yields names.
///
/// A name is a `&str`, a `String`, a [`Key`], as [`key!`](crate::key) makes it, or a value of a type that derives
/// [`CacheTag`](crate::CacheTag). One name is written in an array, too.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
/// use cache_runtime::{Cache, key};
///
/// let cache = Cache::builder().url("memory:").build()?;
/// let (ids, names) = ([7, 8], vec!["users".to_owned()]);
/// cache.invalidate(["users"]).await?;
/// cache.invalidate(&names).await?;
/// cache.invalidate(ids.iter().map(|id| key!("user:<id>"))).await?;
/// # Ok(()) }
/// ```
// A trait of its own, for the message: the compiler would advise to call `chars` on a string.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a list of keys or tags",
    label = "expected an array, or another iterator of names",
    note = "write an array, also for one name: `[\"users\"]`",
    note = "a name is a `&str`, a `String`, a `Key`, as `key!` makes it, or a value of a type that derives `CacheTag`"
)]
pub trait Keys: IntoIterator<Item: Into<Key>> {}

#[diagnostic::do_not_recommend]
impl<I: IntoIterator<Item: Into<Key>>> Keys for I {}
