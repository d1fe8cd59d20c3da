//! Tags that only the loaded value tells.

use super::request::{Keep, Keeping};
use crate::key::Key;

/// What a value itself decides, where it tells tags, too.
#[derive(Debug)]
pub(crate) struct WithTags<K, T> {
    pub(crate) keep: K,
    pub(crate) tags: T,
}

impl<V, K, T> Keeping<V> for WithTags<K, T>
where
    K: Fn(&V) -> Keep,
    T: Fn(&V) -> Vec<Key>,
{
    fn keep(&self, value: &V) -> Keep {
        (self.keep)(value)
    }

    /// Sorted, each of them once: so values with the same tags have them in one order.
    fn tags(&self, value: &V) -> Vec<Key> {
        let mut tags = (self.tags)(value);
        tags.sort_unstable();
        tags.dedup();
        tags
    }
}

/// Adds the tags that a closure of the user's tells of a value.
pub fn tell<'v, V, I>(tags: &mut Vec<Key>, value: &'v V, tell: impl FnOnce(&'v V) -> I)
where
    I: TagsOfValue,
{
    tags.extend(tell(value).into_iter().map(Into::into));
}

/// What a closure in `invalidate_on` returns.
// A trait of its own, for the message: that of `IntoIterator` says how to implement `Iterator`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a list of tags",
    label = "the closure in `invalidate_on` returns this",
    note = "return an array, also of one tag, `|user| [UserTag(user.id)]`, an `Option` or an iterator of tags",
    note = "a tag is a value of a type that derives `CacheTag`, a `Key`, as `key!` makes it, or a string"
)]
pub trait TagsOfValue: IntoIterator<Item: Into<Key>> {}

#[diagnostic::do_not_recommend]
impl<I: IntoIterator<Item: Into<Key>>> TagsOfValue for I {}
