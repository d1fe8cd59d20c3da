//! Values that can be cached, and how callers share them.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A type whose values can be cached. Every type that meets the bounds implements it.
///
/// Serde's traits are for the shared tier, which stores values as bytes. `Clone` is for the
/// copy that each caller gets; with an `Arc<T>`, that copy is cheap. `Send + Sync + 'static`
/// is for the local tier, which keeps the value itself.
///
/// ```
/// use std::sync::Arc;
/// use cache_runtime::CacheValue;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct User { name: String }
///
/// fn cacheable<T: CacheValue>() {}
/// cacheable::<User>();
/// cacheable::<Arc<User>>();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be cached",
    label = "not a cacheable value",
    note = "a cached value is `Serialize + DeserializeOwned + Clone + Send + Sync + 'static`",
    note = "for a type of your own: `#[derive(Clone, serde::Serialize, serde::Deserialize)]`",
    note = "text is cached as a `String`: by hand, `&\"text\".to_owned()`"
)]
pub trait CacheValue: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static> CacheValue for T {}

/// The part of a load's result that can be cached and shared. An error cannot.
#[derive(Debug, Clone)]
pub enum Outcome<V> {
    /// A value.
    Value(V),
    /// A `None`.
    None,
}

/// A shared outcome, with its type erased. Its reader names the type.
///
/// It has one of two forms, and each reader must handle both: an `Outcome<V>`; or the `T`
/// itself, shared with all callers, if `V` is an `Arc<T>` and the function's signature shows
/// that. The second form saves one allocation an entry, and two writes to shared memory a hit.
pub(crate) type SharedValue = Arc<dyn Erased>;

/// An error that a load yielded, for the callers that waited, with its type erased.
pub(crate) type SharedError = Arc<dyn Any + Send + Sync>;

/// A value that a caller gives.
pub(crate) type AnyValue = Box<dyn Any + Send>;

/// The type-erased content of a [`SharedValue`].
pub trait Erased: Any + Send + Sync {
    /// Wraps a value of the second form in the `Outcome<Arc<Self>>` that it stands for.
    fn into_outcome(self: Arc<Self>) -> Box<dyn Any>;
}

impl<T: Any + Send + Sync> Erased for T {
    fn into_outcome(self: Arc<Self>) -> Box<dyn Any> {
        Box::new(Outcome::Value(self))
    }
}

impl fmt::Debug for dyn Erased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedValue")
    }
}

/// A copy of the outcome, if it is of this type.
pub(crate) fn outcome<V: Any + Clone>(value: &SharedValue) -> Option<Outcome<V>> {
    let any: &dyn Any = &**value;
    if let Some(outcome) = any.downcast_ref::<Outcome<V>>() {
        return Some(outcome.clone());
    }
    let outcome = value.clone().into_outcome().downcast().ok()?;
    Some(*outcome)
}

/// The outcome, if it is of this type. It is cloned only if the value has other holders.
pub(crate) fn into_outcome<V>(value: SharedValue) -> Option<Outcome<V>>
where
    V: Any + Clone + Send + Sync,
{
    let any: &dyn Any = &*value;
    if any.is::<Outcome<V>>() {
        let any: Arc<dyn Any + Send + Sync> = value;
        return any.downcast().ok().map(Arc::unwrap_or_clone);
    }
    let outcome = value.into_outcome().downcast().ok()?;
    Some(*outcome)
}

impl<V> Outcome<V> {
    pub(crate) fn into_value(self) -> Option<V> {
        match self {
            Self::Value(value) => Some(value),
            Self::None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    #[test]
    fn the_last_holder_of_a_value_takes_it_without_a_clone() {
        static CLONES: AtomicUsize = AtomicUsize::new(0);
        struct Counted;
        impl Clone for Counted {
            fn clone(&self) -> Self {
                CLONES.fetch_add(1, Relaxed);
                Self
            }
        }
        let value: SharedValue = Arc::new(Outcome::Value(Counted));
        assert!(into_outcome::<Counted>(value.clone()).is_some());
        assert_eq!(CLONES.load(Relaxed), 1);
        assert!(into_outcome::<u8>(value.clone()).is_none());
        assert!(into_outcome::<Counted>(value).is_some());
        assert_eq!(CLONES.load(Relaxed), 1);

        // In the second form, the `Arc` is shared, and nothing is cloned.
        let value: SharedValue = Arc::new(Counted);
        let outcome = into_outcome::<Arc<Counted>>(value);
        assert!(matches!(outcome, Some(Outcome::Value(_))));
        assert_eq!(CLONES.load(Relaxed), 1);
    }
}
